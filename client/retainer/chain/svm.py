"""Solana in the process: LiteSVM runs transactions, a journal remembers what each slot changed.

The journal is what LiteSVM lacks: reading an older slot (finality lags) and taking slots back (forks).
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Final

from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, SimulatedTransactionInfo, TransactionMetadata

from retainer.chain.base import SimulationResult
from retainer.chain.raw import signature_of
from retainer.protocol.constants import ED25519_PROGRAM_ID, SYSTEM_PROGRAM_ID

BLOCKHASH_BLOCKS: Final = 150
_LAMPORTS_PER_SIGNATURE: Final = 5_000
# Slots and block heights differ on a real chain; here they differ too, so that nobody mistakes one for the other.
_SKIPPED_SLOTS: Final = 1_000
_NOTHING: Final = Account(0, b"", SYSTEM_PROGRAM_ID, executable=False, rent_epoch=0)


@dataclass(frozen=True, slots=True)
class Landed:
    """A transaction in the ledger; `fee` in lamports."""

    slot: int
    time: int
    error: str | None
    logs: tuple[str, ...] = field(repr=False)
    raw: bytes = field(repr=False)
    fee: int
    units: int
    keys: frozenset[Pubkey] = field(repr=False)


class Svm:
    """A ledger whose slots are made by `advance`, and only forward. `time` is in Unix seconds."""

    def __init__(self, *, slot: int, time: float, slot_seconds: float) -> None:
        self.slot = slot
        self.landed: dict[str, Landed] = {}
        self._time = time
        self._slot_seconds = slot_seconds
        self._forks = 0
        self._hashes: dict[Hash, int] = {}  # and the slot they were made in
        self._journal: dict[Pubkey, list[tuple[int, Account | None]]] = {}
        # Its own memory of blockhashes and signatures knows nothing of slots and forks; ours does.
        self._svm = LiteSVM().with_blockhash_check(check=False).with_transaction_history(0)
        self._set_clock()

    @property
    def time(self) -> int:
        """Unix seconds, as programs read them."""
        return int(self._time)

    def add_program(self, address: Pubkey, program: bytes) -> None:
        """Deploy a program."""
        self._svm.add_program(address, program)

    def minimum_balance(self, space: int) -> int:
        """Lamports that keep `space` bytes free of rent."""
        return self._svm.minimum_balance_for_rent_exemption(space)

    def advance(self, seconds: float) -> None:
        """Let time pass, and the slots that fit into it."""
        self._time += seconds
        self.slot += max(1, round(seconds / self._slot_seconds)) if seconds else 0
        self._set_clock()

    def height(self, slot: int) -> int:
        """The height of the block of `slot`."""
        return slot - _SKIPPED_SLOTS

    def blockhash(self, slot: int) -> Hash:
        """The hash of a block; remembered, so that transactions may name it."""
        found = Hash(hashlib.sha256(f"fork {self._forks} slot {slot}".encode()).digest())
        self._hashes.setdefault(found, slot)
        return found

    def knows(self, blockhash: Hash) -> bool:
        """Whether a transaction that names it can land in the present slot."""
        made = self._hashes.get(blockhash)
        return made is not None and self.slot <= made + BLOCKHASH_BLOCKS

    @property
    def written(self) -> list[Pubkey]:
        """Every address that ever changed here."""
        return list(self._journal)

    def read(self, address: Pubkey, slot: int) -> Account | None:
        """The account as of the end of `slot`."""
        for written, account in reversed(self._journal.get(address, [])):
            if written <= slot:
                return account
        return self._now(address)

    def put(self, address: Pubkey, account: Account | None) -> None:
        """Write an account in the present slot, past all rules of the runtime."""
        before = self._now(address)
        self._svm.set_account(address, account or _NOTHING)
        self._remember(address, before, account)

    def simulate(self, transaction: VersionedTransaction) -> SimulationResult:
        """What would come of it in the present slot, its blockhash aside."""
        return _result(self._svm.simulate_transaction(transaction))

    def land(self, transaction: VersionedTransaction) -> Landed:
        """Run it in the present slot; a failed one lands too, and pays its fee."""
        before = {key: self._now(key) for key in transaction.message.account_keys}
        outcome = self._svm.send_transaction(transaction)
        for key, account in before.items():
            self._remember(key, account, self._now(key))
        result = _result(outcome)
        return self.record(transaction, result.error, logs=result.logs, units=result.units or 0)

    def record(
        self, transaction: VersionedTransaction, error: str | None, *, logs: tuple[str, ...] = (), units: int = 0
    ) -> Landed:
        """Enter a transaction into the ledger's history, whatever it did."""
        landed = Landed(
            slot=self.slot,
            time=self.time,
            error=error,
            logs=logs,
            raw=bytes(transaction),
            fee=_fee(transaction),
            units=units,
            keys=frozenset(transaction.message.account_keys),
        )
        self.landed[signature_of(transaction)] = landed
        return landed

    def take_back(self, slot: int) -> None:
        """Undo everything after `slot`, as a fork does; time and slot numbers go on."""
        self._forks += 1
        self._hashes = {found: made for found, made in self._hashes.items() if made <= slot}
        self.landed = {signature: landed for signature, landed in self.landed.items() if landed.slot <= slot}
        for address, entries in self._journal.items():
            entries[:] = [entry for entry in entries if entry[0] <= slot]
            self._svm.set_account(address, entries[-1][1] or _NOTHING)

    def _now(self, address: Pubkey) -> Account | None:
        account = self._svm.get_account(address)
        return account if account is not None and account.lamports > 0 else None

    def _remember(self, address: Pubkey, before: Account | None, after: Account | None) -> None:
        if before != after:
            # What an account was before its first change holds for all slots until then.
            self._journal.setdefault(address, [(0, before)]).append((self.slot, after))

    def _set_clock(self) -> None:
        old = self._svm.get_clock()
        self._svm.set_clock(
            Clock(
                slot=self.slot,
                epoch_start_timestamp=old.epoch_start_timestamp,
                epoch=old.epoch,
                leader_schedule_epoch=old.leader_schedule_epoch,
                unix_timestamp=self.time,
            )
        )


def _result(
    outcome: TransactionMetadata | SimulatedTransactionInfo | FailedTransactionMetadata,
) -> SimulationResult:
    error = None
    if isinstance(outcome, FailedTransactionMetadata):
        error = json.dumps(json.loads(outcome.to_json())["err"], separators=(",", ":"))
    meta = outcome if isinstance(outcome, TransactionMetadata) else outcome.meta()
    return SimulationResult(error, tuple(meta.logs()), meta.compute_units_consumed())


def _fee(transaction: VersionedTransaction) -> int:
    # The signatures that the Ed25519 precompile checks are paid for like the transaction's own.
    message = transaction.message
    checked = sum(
        instruction.data[0]
        for instruction in message.instructions
        if message.account_keys[instruction.program_id_index] == ED25519_PROGRAM_ID and instruction.data
    )
    return _LAMPORTS_PER_SIGNATURE * (message.header.num_required_signatures + checked)
