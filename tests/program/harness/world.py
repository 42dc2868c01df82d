"""A Solana in the process: accounts, a clock, and transactions each of which must conserve tokens and lamports."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.clock import Clock
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM_ID
from solders.transaction import Transaction, VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionResult

from retainer.protocol.constants import ED25519_PROGRAM_ID, PROGRAM_ID
from tests.program.harness.conservation import check_conservation
from tests.program.harness.errors import Refusal, read_refusal

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


@dataclass(frozen=True, slots=True)
class Durable:
    """A nonce in the place of a recent blockhash, and the account that holds it, which even a failed use changes."""

    nonce: Hash
    account: Pubkey


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
        """A key with lamports, given when it is new."""
        keypair = self.keypair(name)
        if self.get(keypair.pubkey()) is None:
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
        durable: Durable | None = None,
    ) -> Outcome:
        """Runs one transaction and holds conservation: legacy or (with `tables`, even none) version 0."""
        payer = fee_payer or self.fees
        blockhash = durable.nonce if durable else self.svm.latest_blockhash()
        compiled = self._compile(instructions, (payer, *signers), tables, blockhash)
        self.known.update(compiled.touched)
        touched = compiled.touched - ({durable.account} if durable else set())
        before = self._accounts(touched)
        outcome = compiled.outcome(self.svm.send_transaction(compiled.transaction))
        self.svm.expire_blockhash()
        after = self._accounts(touched)
        check_conservation(before, after, fee_payer=payer.pubkey(), fee=outcome.fee, failed=not outcome.landed)
        return outcome

    def simulate(self, instructions: Sequence[Instruction], signers: Sequence[Keypair] = ()) -> Outcome:
        """Runs one transaction without keeping what it did; conservation is held all the same."""
        compiled = self._compile(instructions, (self.fees, *signers), None, self.svm.latest_blockhash())
        result = self.svm.simulate_transaction(compiled.transaction)
        if isinstance(result, FailedTransactionMetadata):
            return compiled.outcome(result)
        outcome = compiled.outcome(result.meta())
        before = self._accounts(compiled.touched)
        after = before | {key: account if account.lamports else None for key, account in result.post_accounts()}
        check_conservation(before, after, fee_payer=self.fees.pubkey(), fee=outcome.fee, failed=False)
        return outcome

    def _accounts(self, addresses: Iterable[Pubkey]) -> dict[Pubkey, Account | None]:
        return {address: self.get(address) for address in addresses}

    def _compile(
        self,
        instructions: Sequence[Instruction],
        signers: Sequence[Keypair],
        tables: Sequence[AddressLookupTableAccount] | None,
        blockhash: Hash,
    ) -> "_Compiled":
        people = {keypair.pubkey(): keypair for keypair in signers}
        payer = signers[0].pubkey()
        message: Message | MessageV0
        if tables is None:
            message = Message.new_with_blockhash(instructions, payer, blockhash)
        else:
            message = MessageV0.try_compile(payer, instructions, tables, blockhash)
        keys = [people[key] for key in message.account_keys[: message.header.num_required_signatures]]
        named = {meta.pubkey for one in instructions for meta in one.accounts}
        return _Compiled(
            transaction=Transaction(keys, message, blockhash)
            if isinstance(message, Message)
            else VersionedTransaction(message, keys),
            touched=named.union(message.account_keys),
            fee=_fee(len(keys), instructions),
        )


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A signed transaction, every account that it may touch, and its base fee in lamports."""

    transaction: Transaction | VersionedTransaction
    touched: set[Pubkey]
    fee: int

    def outcome(self, result: TransactionResult) -> Outcome:
        """How it went. One none of whose instructions ran (for want of an account, say) costs nothing."""
        meta = result.meta() if isinstance(result, FailedTransactionMetadata) else result
        refusal = read_refusal(result.err()) if isinstance(result, FailedTransactionMetadata) else None
        return Outcome(
            refusal=refusal,
            logs=tuple(meta.logs()),
            units=meta.compute_units_consumed(),
            fee=0 if refusal is not None and refusal.instruction is None else self.fee,
            size=len(bytes(self.transaction)),
            signatures=len(self.transaction.signatures),
        )


def _fee(signatures: int, instructions: Sequence[Instruction]) -> int:
    """The base fee in lamports: the precompile's signatures are paid for like the transaction's own."""
    precompile = sum(
        bytes(one.data)[0] for one in instructions if one.program_id == ED25519_PROGRAM_ID and len(one.data) > 0
    )
    return FEE_PER_SIGNATURE * (signatures + precompile)
