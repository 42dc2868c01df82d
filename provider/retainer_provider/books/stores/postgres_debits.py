"""Debits in PostgreSQL: many requests reserved, and many charged, booked and answered, in one transaction.

What is decided from the locked rows holds until the transaction ends.
"""

from collections.abc import Sequence
from typing import TypeAlias

from retainer_provider.books.outcomes import CommitOutcome, CommitResult, ReserveOutcome, ReserveResult
from retainer_provider.books.records import AnswerLimits, Commit
from retainer_provider.books.stores import postgres_booking
from retainer_provider.books.stores.postgres_account import Account, Hold
from retainer_provider.books.stores.postgres_rows import Connection
from retainer_provider.books.stores.postgres_sight import Sight, look_up, take

Debit: TypeAlias = Hold | Commit
Result: TypeAlias = ReserveResult | CommitResult


class Debits:
    """Does debits on a connection."""

    def __init__(self, limits: AnswerLimits) -> None:
        self._limits = limits
        self._sight = Sight()

    async def perform(self, connection: Connection, debits: Sequence[Debit], *, wait: bool) -> list[Result | None]:
        """See ``Ledger.reserve`` and ``Ledger.commit``.

        Without ``wait``, None where another transaction has the session's row: nothing is done for that debit.
        """
        accounts = await self._sight.lock(connection, {session_of(debit) for debit in debits}, wait=wait)
        mine = [debit for debit in debits if session_of(debit) in accounts]
        await look_up(connection, accounts, [debit.request for debit in mine if isinstance(debit, Hold)])
        held = await take(connection, [debit.reservation for debit in mine if isinstance(debit, Commit)])
        results: dict[int, Result | None] = {}
        # All of them are unacknowledged, hence concurrent: reserved first, a key that ends just now is still running.
        for place, debit in sorted(enumerate(debits), key=lambda pair: isinstance(pair[1], Commit)):
            results[place] = self._decide(accounts.get(session_of(debit)), debit, held, wait=wait)
        moved = [account for account in accounts.values() if account.moved]
        await postgres_booking.write(connection, moved)
        return [results[place] for place in range(len(debits))]

    def _decide(self, account: Account | None, debit: Debit, held: dict[int, int], *, wait: bool) -> Result | None:
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
