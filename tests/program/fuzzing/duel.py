"""Chain against oracle: every transaction must land exactly when the oracle says so, and leave exactly what it says."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from solders.account import Account
from solders.instruction import Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from retainer.protocol.constants import ED25519_PROGRAM_ID, PROGRAM_ID
from retainer.protocol.session import ChainStatus, SessionAccount
from tests.program.fuzzing.arena import Arena
from tests.program.fuzzing.drafts import NEVER_WRITABLE, Draft
from tests.program.fuzzing.model import Asked, State, Token, session_bytes
from tests.program.fuzzing.oracle import ANYTHING, ask
from tests.program.harness.errors import Reason, Refusal, Runtime, read_refusal
from tests.program.harness.tokens import AccountState
from tests.program.harness.world import FEE_PER_SIGNATURE

UNSIGNED: Final = Signature.default()
Accounts = Mapping[Pubkey, Account | None]
Oracle = Callable[[Asked, State], frozenset[Reason]]


class MismatchError(AssertionError):
    """Chain and oracle disagree, or an invariant is broken."""


@dataclass(frozen=True, slots=True)
class Book:
    """A session's own accounts from first deposit to last refund, in base units; `given` is what strangers sent."""

    paid_in: int = 0
    given: int = 0
    paid_out: int = 0
    refunded: int = 0

    @property
    def held(self) -> int:
        """What its escrow must hold."""
        return self.paid_in + self.given - self.paid_out - self.refunded

    def plus(self, other: "Book") -> "Book":
        """Both books in one."""
        return Book(
            self.paid_in + other.paid_in,
            self.given + other.given,
            self.paid_out + other.paid_out,
            self.refunded + other.refunded,
        )


@dataclass(slots=True)
class Tally:
    """What happened so far, by name of instruction and of reason."""

    transactions: int = 0
    landed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class Duel:
    """Sends drafts to the chain and asks the oracle about them; MismatchError when the two part."""

    def __init__(self, oracle: Oracle = ask) -> None:
        self.arena = Arena()
        self.tally = Tally()
        self.books: dict[Pubkey, Book] = {}
        self.ended: list[Book] = []
        self.ceilings: defaultdict[tuple[Pubkey, Pubkey], int] = defaultdict(int)
        """The highest cumulative that a key ever signed for a session."""
        self._oracle = oracle

    def send(self, drafts: Sequence[Draft]) -> bool:
        """One transaction of these drafts, each with its voucher directly before it. Whether it landed."""
        try:
            return self._send(drafts)
        except MismatchError as difference:
            raise MismatchError(f"{difference} ({'; then '.join(map(str, drafts))})") from difference

    def _send(self, drafts: Sequence[Draft]) -> bool:
        instructions: list[Instruction] = []
        places: list[int] = []
        for draft in drafts:
            if draft.voucher:
                at = (draft.voucher.session, draft.voucher.signer)
                self.ceilings[at] = max(self.ceilings[at], draft.voucher.cumulative)
                instructions.append(draft.voucher.instruction())
            places.append(len(instructions))
            instructions.append(draft.instruction())
        fork, expected = self._foresee(drafts, instructions, places)
        before, after, refusal = self._execute(instructions)
        _agree(expected, refusal)
        self.tally.transactions += 1
        for draft in drafts:
            (self.tally.refused if refusal else self.tally.landed)[draft.name] += 1
        if refusal:
            self.tally.reasons[str(refusal.reason)] += 1
            return False
        self._adopt(fork, before, after)
        return True

    def _foresee(
        self, drafts: Sequence[Draft], instructions: Sequence[Instruction], places: Sequence[int]
    ) -> tuple[State, tuple[int, frozenset[Reason]] | None]:
        """The state that the oracle expects, and the place and the possible reasons of the refusal that it expects."""
        metas = [meta for one in instructions for meta in one.accounts]
        fees = self.arena.cast.fees
        signed = frozenset({fees, *(meta.pubkey for meta in metas if meta.is_signer)})
        writable = frozenset({fees, *(meta.pubkey for meta in metas if meta.is_writable)}) - NEVER_WRITABLE
        fork = self.arena.state.fork()
        for draft, place in zip(drafts, places, strict=True):
            asked = draft.asked(signed, writable, draft.voucher.seen() if draft.voucher else None)
            broken = self._oracle(asked, fork) if asked else frozenset({Runtime.NOT_ENOUGH_ACCOUNTS})
            if broken:
                return fork, (place, broken)
        return fork, None

    def _execute(self, instructions: Sequence[Instruction]) -> tuple[Accounts, Accounts, Refusal | None]:
        """The accounts of the transaction before and after it, and why it was refused."""
        arena = self.arena
        message = Message.new_with_blockhash(instructions, arena.cast.fees, arena.blockhash)
        signatures = message.header.num_required_signatures
        before = {key: arena.get(key) for key in message.account_keys}
        result = arena.svm.send_transaction(Transaction.populate(message, [UNSIGNED] * signatures))
        after = {key: arena.get(key) for key in message.account_keys}
        vouchers = sum(one.program_id == ED25519_PROGRAM_ID for one in instructions)
        fee = FEE_PER_SIGNATURE * (signatures + vouchers)
        if _lamports(before) - fee != _lamports(after):
            raise MismatchError("lamports were made or lost")
        return before, after, read_refusal(result.err()) if isinstance(result, FailedTransactionMetadata) else None

    def _adopt(self, fork: State, before: Accounts, after: Accounts) -> None:
        """Takes over what the oracle foresaw, once every account of the transaction is as it says."""
        tokens, sessions = fork.changed()
        if not set(tokens) | set(sessions) <= set(after):
            raise MismatchError("the oracle changes accounts that the transaction does not name")
        for key, account in after.items():
            if key in fork.tokens:
                _same_token(key, account, fork.tokens[key])
            elif key in fork.sessions:
                _same_session(key, account, fork.sessions[key])
            elif (old := before[key]) is not None and account is not None and old.data != account.data:
                raise MismatchError(f"{key} changed")
        rent = {session.rent_payer for key in sessions if (session := self.session(key, fork)) is not None}
        moved = {*tokens, *sessions, *rent, self.arena.cast.fees}
        for key, account in after.items():
            if key not in moved and _lamports({key: before[key]}) != _lamports({key: account}):
                raise MismatchError(f"{key} gained or lost lamports")
        self._keep_books(fork)
        self.arena.state.adopt(fork)

    def give(self, session: Pubkey, amount: int) -> None:
        """Enters what a stranger sent to a session's escrow."""
        self.books[session] = replace(self.books[session], given=self.books[session].given + amount)

    def session(self, address: Pubkey, fork: State) -> SessionAccount | None:
        """The session as it is, or as it was before it ended."""
        return fork.sessions[address] or self.arena.state.sessions.get(address)

    def _keep_books(self, fork: State) -> None:
        for flow in fork.flows:
            moved = Book(flow.paid_in, 0, flow.paid_out, flow.refunded)
            self.books[flow.session] = self.books.get(flow.session, Book()).plus(moved)
        for address, session in fork.changed()[1].items():
            self._balance(address, session, fork)

    def _balance(self, address: Pubkey, session: SessionAccount | None, fork: State) -> None:
        """The invariants of one session: what came in is paid, refunded or held, within what was authorized."""
        book = self.books.get(address)
        if session is None or session.status is ChainStatus.CLOSED:
            if book is not None:  # none when only the rent of a closed session came back
                if book.held != 0:
                    raise MismatchError(f"{address} ended and still owes {book.held}")
                self.ended.append(self.books.pop(address))
            return
        escrow = fork.tokens[session.escrow]
        if book is None or escrow is None or escrow.amount != book.held:
            raise MismatchError(f"{address} has a balance that its books do not")
        if (book.paid_in, book.paid_out) != (session.deposit, session.settled):
            raise MismatchError(f"{address} records other sums than were moved")
        metered = session.authorized_signer == session.operator
        ceiling = session.deposit if metered else self.ceilings[address, session.authorized_signer]
        if not 0 <= session.settled <= min(session.deposit, ceiling):
            raise MismatchError(f"{address} settled {session.settled} of {ceiling} authorized")


def _agree(expected: tuple[int, frozenset[Reason]] | None, refusal: Refusal | None) -> None:
    if expected is None:
        if refusal is not None:
            raise MismatchError(f"refused with {refusal}, where the oracle finds no rule broken")
        return
    place, reasons = expected
    if refusal is None:
        raise MismatchError(f"landed, where the oracle finds broken: {sorted(map(str, reasons))}")
    if refusal.instruction != place or (refusal.reason not in reasons and reasons is not ANYTHING):
        raise MismatchError(f"refused with {refusal}, where the oracle finds {place}: {sorted(map(repr, reasons))}")


def _same_token(key: Pubkey, account: Account | None, token: Token | None) -> None:
    if account is None or token is None:
        if (account is None) != (token is None):
            raise MismatchError(f"token account {key}: chain has {account}, oracle {token}")
        return
    data, state = account.data, AccountState.FROZEN if token.frozen else AccountState.INITIALIZED
    expected = bytes(token.mint) + bytes(token.owner) + token.amount.to_bytes(8, "little")
    if (account.owner, data[:72], data[108]) != (token.program, expected, state):
        found = int.from_bytes(data[64:72], "little")
        raise MismatchError(f"token account {key}: chain has {found}, oracle {token.amount} of {token.owner}")


def _same_session(key: Pubkey, account: Account | None, session: SessionAccount | None) -> None:
    if session is None:
        if account is not None:
            raise MismatchError(f"session {key} is still there")
    elif account is None or (account.owner, account.data) != (PROGRAM_ID, session_bytes(session)):
        raise MismatchError(f"session {key}: chain has {account}, oracle {session}")


def _lamports(accounts: Accounts) -> int:
    return sum(account.lamports for account in accounts.values() if account is not None)
