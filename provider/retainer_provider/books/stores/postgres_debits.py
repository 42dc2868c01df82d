"""Debits in PostgreSQL: many requests reserved, and many charged, booked and answered, in one transaction.

What is decided from locked rows holds until their transaction ends. Most sessions are used by one process for a while,
which knows them as it left them: what is decided from that is written by a statement that finds out whether it is so.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.outcomes import CommitOutcome, CommitResult, ReserveOutcome, ReserveResult
from retainer_provider.books.records import AnswerLimits, Commit
from retainer_provider.books.stores import postgres_booking
from retainer_provider.books.stores.postgres_account import Account, Hold
from retainer_provider.books.stores.postgres_pool import UndoneError
from retainer_provider.books.stores.postgres_rows import Connection
from retainer_provider.books.stores.postgres_sight import Sight, look_up, still_held

Debit: TypeAlias = Hold | Commit
Result: TypeAlias = ReserveResult | CommitResult

# What a guess may come to: to refuse somebody, one must know.
_PAID: Final = frozenset({ReserveOutcome.RESERVED, CommitOutcome.COMMITTED})


class Debits:
    """Does debits on a connection."""

    def __init__(self, limits: AnswerLimits) -> None:
        self._limits = limits
        self._sight = Sight()

    async def guess(self, connection: Connection, debits: Sequence[Debit], *, lasting: bool) -> list[Result | None]:
        """Decide from what the sessions were when they were seen last, in one statement and no other transaction.

        None where that is not so any more, or not known, or where it is no reason to take money: nothing is done for
        any debit of that session. Not ``lasting``, a crash of the server in the next second may undo it.
        """
        sessions = [session_of(debit) for debit in debits]
        accounts = self._sight.recall(set(sessions))
        held = {debit.reservation.id: debit.reservation.amount for debit in debits if isinstance(debit, Commit)}
        results = self._decided(accounts, debits, held, wait=False)
        doubtful = {
            session
            for session, result in zip(sessions, results, strict=True)
            if result is None or result.outcome not in _PAID
        }
        sure = [account for session, account in accounts.items() if session not in doubtful]
        written = await self._write(connection, sure, lasting=lasting)
        self._sight.doubt({account.session.session_id for account in sure} - written)
        return [result if session in written else None for session, result in zip(sessions, results, strict=True)]

    async def perform(self, connection: Connection, debits: Sequence[Debit], *, wait: bool) -> list[Result | None]:
        """See ``Ledger.reserve`` and ``Ledger.commit``; decides in a transaction, under the locks of the sessions.

        Without ``wait``, None where another transaction has the session's row: nothing is done for that debit.
        """
        accounts = await self._sight.lock(connection, {session_of(debit) for debit in debits}, wait=wait)
        mine = [debit for debit in debits if session_of(debit) in accounts]
        await look_up(connection, accounts, [debit.request for debit in mine if isinstance(debit, Hold)])
        held = await still_held(connection, [debit.reservation for debit in mine if isinstance(debit, Commit)])
        results = self._decided(accounts, debits, held, wait=wait)
        moved = [account for account in accounts.values() if account.moved]
        if len(await self._write(connection, moved)) != len(moved):
            raise UndoneError(
                "a session changed under its lock, so nothing was done: does anything else write the books?"
            )
        return results

    async def _write(self, connection: Connection, accounts: Sequence[Account], *, lasting: bool = True) -> set[str]:
        """Ids of the sessions that were written."""
        reserved = await postgres_booking.write(connection, accounts, lasting=lasting)
        written = [account for account in accounts if account.session.number in reserved]
        for account in written:
            self._sight.learn(account, reserved[account.session.number])
        return {account.session.session_id for account in written}

    def _decided(
        self, accounts: Mapping[str, Account], debits: Sequence[Debit], held: dict[int, BaseUnits], *, wait: bool
    ) -> list[Result | None]:
        results: dict[int, Result | None] = {}
        # All of them are unacknowledged, hence concurrent: reserved first, a key that ends just now is still running.
        for place, debit in sorted(enumerate(debits), key=lambda pair: isinstance(pair[1], Commit)):
            results[place] = self._decide(accounts.get(session_of(debit)), debit, held, wait=wait)
        return [results[place] for place in range(len(debits))]

    def _decide(
        self, account: Account | None, debit: Debit, held: dict[int, BaseUnits], *, wait: bool
    ) -> Result | None:
        if isinstance(debit, Hold):
            if account is None:
                return ReserveResult(ReserveOutcome.UNKNOWN) if wait else None
            return account.reserve(debit)
        if account is None:
            return CommitResult(CommitOutcome.LOST) if wait else None
        amount = held.pop(debit.reservation.id, None)
        return CommitResult(CommitOutcome.LOST) if amount is None else account.end(debit, amount, self._limits)


def session_of(debit: Debit) -> str:
    """Id of the session whose money it is about."""
    return debit.reservation.session_id
