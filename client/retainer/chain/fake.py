"""A chain in memory that runs the real program, and misbehaves on demand: for tests of whatever takes a `Chain`.

    chain = FakeChain(finality_lag=32)
    chain.fund(payer.pubkey())
    chain.next_send(Fate.LANDED_UNANSWERED)   # the next transaction lands, but its sender is not told
    chain.fork(5)                             # the last five slots never happened

Time stands still but for `advance` and `sleep`, so the chain is a `Timer` too: `confirm(chain, ..., clock=chain)`
waits in its time and returns at once in ours. Needs solders 0.29 or newer: the LiteSVM of 0.26 cannot run the program.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from operator import itemgetter
from typing import Final

from solders.account import Account
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from retainer.chain.base import (
    AccountInfo,
    Commitment,
    LatestBlockhash,
    SignatureStatus,
    SimulationResult,
    TransactionInfo,
    program_error,
)
from retainer.chain.errors import ChainError, ChainUnavailableError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.raw import decode_signed, signature_of
from retainer.chain.svm import BLOCKHASH_BLOCKS, Svm
from retainer.protocol.constants import PROGRAM_ID, SYSTEM_PROGRAM_ID
from retainer.relocation import relocated

_START_SLOT: Final = 400_000_000
_START_TIME: Final = 1_800_000_000
_SLOT_SECONDS: Final = 0.4
_SOL: Final = 1_000_000_000


class Fate(StrEnum):
    """What becomes of a transaction that is handed to `FakeChain.send`."""

    REFUSED = "the node's check refuses it"
    DROPPED = "the node takes it, and it never lands"
    LOST_UNANSWERED = "no answer, and it never lands"
    LANDED_UNANSWERED = "no answer, but it lands"
    UNCHECKED = "it lands without the node's check, though it may fail there"
    FAILED = "it lands without effect"
    LATE = "it lands some slots later, if its blockhash is still good then"


@dataclass(frozen=True, slots=True)
class _Plan:
    fate: Fate
    error: str
    slots: int


class FakeChain:
    """A `Chain` in memory. Lags are in slots: how far confirmed and finalized reads are behind the newest slot."""

    def __init__(self, *, confirmation_lag: int = 0, finality_lag: int = 0, program_id: Pubkey = PROGRAM_ID) -> None:
        if not 0 <= confirmation_lag <= finality_lag:
            raise ValueError("a chain confirms before it finalizes: 0 <= confirmation_lag <= finality_lag")
        if not hasattr(LiteSVM, "mainnet_feature_set"):
            raise ChainError("the fake chain needs solders 0.29 or newer; this environment's cannot run the program")
        self._lags = {
            Commitment.PROCESSED: 0,
            Commitment.CONFIRMED: confirmation_lag,
            Commitment.FINALIZED: finality_lag,
        }
        self._svm = Svm(slot=_START_SLOT, time=_START_TIME, slot_seconds=_SLOT_SECONDS)
        program = resources.files("retainer") / "artifacts" / "session_escrow.so"
        self._svm.add_program(program_id, relocated(program.read_bytes(), program_id))
        self._elapsed = 0.0
        self._plans: deque[_Plan] = deque()
        self._late: list[tuple[int, VersionedTransaction]] = []
        self.sent: list[str] = []  # signatures, in the order they were handed over, repetitions included
        self.priority_fees: list[int] = []  # of recent blocks
        self.down = False  # while True, no call is answered
        self.behind = 0  # every answer is as of so many slots ago, as from a node that lags

    # Setting the stage.

    def fund(self, address: Pubkey, lamports: int = 10 * _SOL) -> None:
        """Give an address lamports."""
        self.put(address, lamports=lamports)

    def put(
        self, address: Pubkey, *, owner: Pubkey = SYSTEM_PROGRAM_ID, data: bytes = b"", lamports: int | None = None
    ) -> None:
        """Write an account past all rules; without `lamports` it gets what keeps it free of rent."""
        balance = self._svm.minimum_balance(len(data)) if lamports is None else lamports
        self._svm.put(address, Account(balance, data, owner, executable=False, rent_epoch=0))

    def remove(self, address: Pubkey) -> None:
        """Make an account disappear, past all rules."""
        self._svm.put(address, None)

    # Time.

    def advance(self, *, slots: int = 0, seconds: float = 0.0) -> None:
        """Let slots or seconds pass, the longer of the two; late transactions land on the way."""
        left = max(seconds, slots * _SLOT_SECONDS)
        self._elapsed += left
        for due, transaction in sorted(self._late, key=itemgetter(0)):
            wait = (due - self._svm.slot) * _SLOT_SECONDS
            if wait > left:
                break
            self._svm.advance(wait)
            left -= wait
            self._late.remove((due, transaction))
            # Sent again it may have landed meanwhile, and no chain lands a transaction twice.
            known = signature_of(transaction) in self._svm.landed
            if not known and self._svm.knows(transaction.message.recent_blockhash):
                self._svm.land(transaction)
        self._svm.advance(left)

    def monotonic(self) -> float:
        """Seconds that have passed here."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass here, and none elsewhere."""
        self.advance(seconds=seconds)
        await asyncio.sleep(0)

    # Trouble.

    def next_send(self, fate: Fate, *, times: int = 1, number: int | None = None, slots: int = 10) -> None:
        """What becomes of the next transaction that no earlier plan is for, or of so many.

        `number` is the program's error where it is refused or fails (else it is the runtime's), `slots` the delay of a
        late one.
        """
        error = '"AccountInUse"' if number is None else f'{{"InstructionError":[0,{{"Custom":{number}}}]}}'
        self._plans.extend([_Plan(fate, error, slots)] * times)

    def fork(self, slots: int) -> None:
        """Undo the newest `slots` slots; ValueError where they are finalized, which nothing undoes."""
        if slots > self._lags[Commitment.FINALIZED]:
            raise ValueError(f"with a finality lag of {self._lags[Commitment.FINALIZED]} slots, {slots} cannot go")
        self._svm.take_back(self._svm.slot - slots)

    # The chain.

    async def account(
        self, address: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED, min_slot: int | None = None
    ) -> AccountInfo | None:
        """The account, or None where there is none."""
        return (await self.accounts([address], commitment=commitment, min_slot=min_slot))[0]

    async def accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment = Commitment.CONFIRMED,
        min_slot: int | None = None,
    ) -> list[AccountInfo | None]:
        """Accounts as of one slot, in the order asked for."""
        slot = self._slot(commitment)
        if min_slot is not None and slot < min_slot:
            raise ChainUnavailableError(f"the fake chain is behind: it answers for slot {slot}, not {min_slot}")
        found = [(address, self._svm.read(address, slot)) for address in addresses]
        return [
            None if account is None else AccountInfo(address, account.owner, account.lamports, account.data, slot)
            for address, account in found
        ]

    async def latest_blockhash(self, *, commitment: Commitment = Commitment.CONFIRMED) -> LatestBlockhash:
        """A blockhash to sign with."""
        slot = self._slot(commitment)
        return LatestBlockhash(self._svm.blockhash(slot), slot, self._svm.height(slot) + BLOCKHASH_BLOCKS)

    async def genesis_hash(self) -> str:
        """That of no public cluster."""
        self._answer()
        return str(Hash.default())

    async def slot(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The newest slot at this level."""
        return self._slot(commitment)

    async def block_height(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The newest block's height at this level."""
        return self._svm.height(self._slot(commitment))

    async def block_time(self) -> int:
        """The chain's own time in Unix seconds."""
        self._answer()
        return self._svm.time

    async def send(self, raw: bytes) -> str:
        """Land a signed transaction in the present slot, unless `next_send` planned otherwise."""
        transaction = decode_signed(raw)
        signature = signature_of(transaction)
        self.sent.append(signature)
        if self.down:
            raise SendOutcomeUnknownError("the fake chain is down", signature)
        if signature in self._svm.landed:
            return signature
        plan = self._plans.popleft() if self._plans else None
        if plan is None or plan.fate in (Fate.LATE, Fate.DROPPED, Fate.LANDED_UNANSWERED):
            self._check(transaction)
        match plan.fate if plan else None:
            case None | Fate.UNCHECKED | Fate.LANDED_UNANSWERED:
                self._svm.land(transaction)
            case Fate.FAILED if plan:
                self._svm.record(transaction, plan.error)
            case Fate.LATE if plan:
                self._late.append((self._svm.slot + plan.slots, transaction))
            case Fate.REFUSED if plan:
                raise TransactionRefusedError(plan.error, program_error=program_error(plan.error))
        if plan and plan.fate in (Fate.LOST_UNANSWERED, Fate.LANDED_UNANSWERED):
            raise SendOutcomeUnknownError("the fake chain does not say whether it took it", signature)
        return signature

    async def signature_status(self, signature: str, *, search_history: bool = True) -> SignatureStatus | None:
        """What became of a transaction, or None."""
        self._answer()
        landed = self._svm.landed.get(signature)
        levels = [level for level in Commitment if landed and landed.slot <= self._slot(level)]
        return SignatureStatus(landed.slot, levels[-1], landed.error) if landed and levels else None

    async def transaction(
        self, signature: str, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> TransactionInfo | None:
        """A transaction that landed, failed ones included, or None."""
        landed = self._svm.landed.get(signature)
        if landed is None or landed.slot > self._slot(commitment):
            return None
        return TransactionInfo(
            signature=signature,
            slot=landed.slot,
            block_time=landed.time,
            error=landed.error,
            logs=landed.logs,
            raw=landed.raw,
            fee=landed.fee,
            compute_units=landed.units,
        )

    async def signatures_for(self, address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        """Signatures of confirmed transactions that name the address, newest first."""
        confirmed = self._slot(Commitment.CONFIRMED)
        found = [
            signature
            for signature, landed in reversed(self._svm.landed.items())
            if address in landed.keys and landed.slot <= confirmed
        ]
        after = found.index(before) + 1 if before in found else 0
        return found[after : after + limit]

    async def program_accounts(
        self, program: Pubkey, *, offset: int, key: Pubkey, commitment: Commitment = Commitment.CONFIRMED
    ) -> list[AccountInfo]:
        """Every account of `program` whose data holds `key` at `offset`."""
        slot, place = self._slot(commitment), slice(offset, offset + Pubkey.LENGTH)
        found = ((address, self._svm.read(address, slot)) for address in self._svm.written)
        return [
            AccountInfo(address, account.owner, account.lamports, account.data, slot)
            for address, account in found
            if account is not None and account.owner == program and account.data[place] == bytes(key)
        ]

    async def simulate(self, raw: bytes) -> SimulationResult:
        """Run a transaction without landing it."""
        self._answer()
        transaction = decode_signed(raw)
        if not self._svm.knows(transaction.message.recent_blockhash):
            return SimulationResult('"BlockhashNotFound"', (), None)
        return self._svm.simulate(transaction)

    async def recent_priority_fees(self, writable: Sequence[Pubkey]) -> list[int]:
        """What `priority_fees` says, whatever the accounts."""
        self._answer()
        return [*self.priority_fees]

    async def minimum_balance(self, space: int) -> int:
        """Lamports that keep an account of `space` bytes free of rent."""
        self._answer()
        return self._svm.minimum_balance(space)

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _answer(self) -> None:
        if self.down:
            raise ChainUnavailableError("the fake chain is down")

    def _slot(self, commitment: Commitment) -> int:
        self._answer()
        return self._svm.slot - self._lags[commitment] - self.behind

    def _check(self, transaction: VersionedTransaction) -> None:
        if not self._svm.knows(transaction.message.recent_blockhash):
            raise TransactionRefusedError('"BlockhashNotFound"')
        result = self._svm.simulate(transaction)
        if result.error is not None:
            raise TransactionRefusedError(result.error, program_error=program_error(result.error), logs=result.logs)
