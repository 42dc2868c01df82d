"""A Solana in the process: accounts, a clock, and transactions each of which must conserve tokens and lamports."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.clock import Clock
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM_ID
from solders.transaction import Transaction, VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionResult
from tests.program.harness.conservation import check_conservation
from tests.program.harness.errors import Refusal, read_refusal

from retainer.protocol.constants import ED25519_PROGRAM_ID, PROGRAM_ID

PROGRAM_FILE = Path(__file__).parents[3] / "programs/session_escrow/artifacts/session_escrow.so"
SOL = 1_000_000_000
START_TIME = 1_800_000_000
START_SLOT = 300_000_000
FEE_PER_SIGNATURE = 5_000

Snapshot = Mapping[Pubkey, Account | None]
"""The accounts at some moment; None where there is none (or one without lamports)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction went. `fee` is in lamports, `units` in compute units, `size` in bytes on the wire."""

    refusal: Refusal | None
    logs: tuple[str, ...] = field(repr=False)
    units: int
    fee: int
    size: int
    signatures: int

    @property
    def landed(self) -> bool:
        """Whether the transaction took effect."""
        return self.refusal is None

    def require(self) -> "Outcome":
        """Itself, or AssertionError with the logs when the transaction was refused."""
        if self.refusal is not None:
            raise AssertionError("\n".join([f"refused: {self.refusal}", *self.logs]))
        return self


class World:
    """LiteSVM with our program loaded. Keys come from names, so every run sees the same addresses."""

    def __init__(self, program: Path = PROGRAM_FILE) -> None:
        self.svm = LiteSVM()
        self.svm.add_program_from_file(PROGRAM_ID, program)
        self.svm.with_transaction_history(0)
        self.known: set[Pubkey] = set()
        self.keyring: dict[Pubkey, Keypair] = {}
        self.set_clock(now=START_TIME, slot=START_SLOT)
        self.fees = self.person("fees", 1_000 * SOL)

    def keypair(self, name: str) -> Keypair:
        """The key that belongs to this name."""
        keypair = Keypair.from_seed(hashlib.sha256(name.encode()).digest())
        self.keyring[keypair.pubkey()] = keypair
        return keypair

    def person(self, name: str, lamports: int = 10 * SOL) -> Keypair:
        """A key with lamports."""
        keypair = self.keypair(name)
        self.put(keypair.pubkey(), Account(lamports, b"", SYSTEM_PROGRAM_ID, executable=False, rent_epoch=0))
        return keypair

    def put(self, address: Pubkey, account: Account) -> Pubkey:
        """Writes an account as it stands, past all rules of the runtime."""
        self.svm.set_account(address, account)
        self.known.add(address)
        return address

    def get(self, address: Pubkey) -> Account | None:
        """The account, or None where there is none (one without lamports is none)."""
        account = self.svm.get_account(address)
        return account if account is not None and account.lamports > 0 else None

    def edit(
        self, address: Pubkey, *, owner: Pubkey | None = None, data: bytes | None = None, lamports: int | None = None
    ) -> None:
        """Overwrites parts of an existing account, past all rules of the runtime."""
        old = self.get(address)
        assert old is not None, f"no account at {address}"
        self.put(
            address,
            Account(
                old.lamports if lamports is None else lamports,
                old.data if data is None else data,
                owner or old.owner,
                executable=old.executable,
                rent_epoch=old.rent_epoch,
            ),
        )

    def snapshot(self, addresses: Iterable[Pubkey] = ()) -> Snapshot:
        """Every account that this world ever put or used in a transaction, and these."""
        return {address: self.get(address) for address in self.known.union(addresses)}

    @property
    def now(self) -> int:
        """Unix seconds, as the program reads them."""
        return self.svm.get_clock().unix_timestamp

    @property
    def slot(self) -> int:
        """The slot, as the program reads it."""
        return self.svm.get_clock().slot

    def set_clock(self, *, now: int | None = None, slot: int | None = None) -> None:
        """Moves time, the slot, or both, to where they are told, also backwards."""
        old = self.svm.get_clock()
        self.svm.set_clock(
            Clock(
                slot=old.slot if slot is None else slot,
                epoch_start_timestamp=old.epoch_start_timestamp,
                epoch=old.epoch,
                leader_schedule_epoch=old.leader_schedule_epoch,
                unix_timestamp=old.unix_timestamp if now is None else now,
            )
        )

    def warp(self, *, seconds: int = 0, slots: int = 0) -> None:
        """Moves time and slots forward."""
        self.set_clock(now=self.now + seconds, slot=self.slot + slots)

    def send(
        self,
        instructions: Sequence[Instruction],
        signers: Sequence[Keypair] = (),
        *,
        fee_payer: Keypair | None = None,
        tables: Sequence[AddressLookupTableAccount] | None = None,
    ) -> Outcome:
        """Runs one transaction, legacy or (with `tables`, which may be empty) version 0, and holds conservation over its accounts."""
        payer = fee_payer or self.fees
        transaction, touched = self._compile(instructions, (payer, *signers), tables)
        self.known.update(touched)
        before = self._accounts(touched)
        result = self.svm.send_transaction(transaction)
        self.svm.expire_blockhash()
        return _judge(transaction, instructions, payer.pubkey(), result, before, self._accounts(touched))

    def simulate(self, instructions: Sequence[Instruction], signers: Sequence[Keypair] = ()) -> Outcome:
        """Runs one transaction without keeping what it did; conservation is held all the same."""
        transaction, touched = self._compile(instructions, (self.fees, *signers), None)
        before = self._accounts(touched)
        result = self.svm.simulate_transaction(transaction)
        if isinstance(result, FailedTransactionMetadata):
            return _judge(transaction, instructions, self.fees.pubkey(), result, before, before)
        after = before | {key: account if account.lamports else None for key, account in result.post_accounts()}
        return _judge(transaction, instructions, self.fees.pubkey(), result.meta(), before, after)

    def _accounts(self, addresses: Iterable[Pubkey]) -> dict[Pubkey, Account | None]:
        return {address: self.get(address) for address in addresses}

    def _compile(
        self,
        instructions: Sequence[Instruction],
        signers: Sequence[Keypair],
        tables: Sequence[AddressLookupTableAccount] | None,
    ) -> tuple[Transaction | VersionedTransaction, set[Pubkey]]:
        """The signed transaction, paid by the first signer, and every account that it may touch."""
        people = {keypair.pubkey(): keypair for keypair in signers}
        payer, blockhash = signers[0].pubkey(), self.svm.latest_blockhash()
        if tables is None:
            legacy = Message.new_with_blockhash(instructions, payer, blockhash)
            keys = _signing(legacy, people)
            return Transaction(keys, legacy, blockhash), set(legacy.account_keys)
        versioned = MessageV0.try_compile(payer, instructions, tables, blockhash)
        touched = {meta.pubkey for one in instructions for meta in one.accounts} | set(versioned.account_keys)
        return VersionedTransaction(versioned, _signing(versioned, people)), touched


def _signing(message: Message | MessageV0, people: Mapping[Pubkey, Keypair]) -> list[Keypair]:
    return [people[key] for key in message.account_keys[: message.header.num_required_signatures]]


def _judge(
    transaction: Transaction | VersionedTransaction,
    instructions: Sequence[Instruction],
    fee_payer: Pubkey,
    result: TransactionResult,
    before: Snapshot,
    after: Snapshot,
) -> Outcome:
    meta = result.meta() if isinstance(result, FailedTransactionMetadata) else result
    refusal = read_refusal(result.err()) if isinstance(result, FailedTransactionMetadata) else None
    # A transaction none of whose instructions ran (for want of an account, say) costs nothing.
    ran = refusal is None or refusal.instruction is not None
    fee = _fee(len(transaction.signatures), instructions) if ran and before is not after else 0
    check_conservation(before, after, fee_payer=fee_payer, fee=fee, failed=refusal is not None)
    return Outcome(
        refusal=refusal,
        logs=tuple(meta.logs()),
        units=meta.compute_units_consumed(),
        fee=fee,
        size=len(bytes(transaction)),
        signatures=len(transaction.signatures),
    )


def _fee(signatures: int, instructions: Sequence[Instruction]) -> int:
    """The base fee in lamports: the precompile's signatures are paid for like the transaction's own."""
    precompile = sum(
        bytes(one.data)[0] for one in instructions if one.program_id == ED25519_PROGRAM_ID and len(one.data) > 0
    )
    return FEE_PER_SIGNATURE * (signatures + precompile)
