"""Debits in PostgreSQL: many requests reserved, and many charged, booked and answered, in one transaction.

What is decided from the locked rows holds until the transaction ends.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from retainer_provider.books.outcomes import CommitOutcome, CommitResult, ReserveOutcome, ReserveResult
from retainer_provider.books.records import AnswerLimits, Commit, Reservation, ReserveRequest, ledger_amount
from retainer_provider.books.stores import postgres_booking
from retainer_provider.books.stores.postgres_account import Account
from retainer_provider.books.stores.postgres_rows import Connection, Row
from retainer_provider.books.stores.postgres_sight import Sight, look_up, take

Debit: TypeAlias = ReserveRequest | Commit
Result: TypeAlias = ReserveResult | CommitResult


class Debits:
    """Does debits on a connection; new reservations are of the process's turn ``epoch`` at that time."""

    def __init__(self, epoch: Callable[[], int], limits: AnswerLimits) -> None:
        self._epoch = epoch
        self._limits = limits
        self._sight = Sight()

    async def perform(self, connection: Connection, debits: Sequence[Debit], *, wait: bool) -> list[Result | None]:
        """See ``Ledger.reserve`` and ``Ledger.commit``.

        Without ``wait``, None where another transaction has the session's row: nothing is done for that debit.
        """
        epoch = self._epoch()
        accounts = await self._sight.lock(connection, {session_of(debit) for debit in debits}, wait=wait)
        mine = [debit for debit in debits if session_of(debit) in accounts]
        await look_up(connection, accounts, [debit for debit in mine if isinstance(debit, ReserveRequest)])
        held = await take(connection, [debit.reservation for debit in mine if isinstance(debit, Commit)])
        results: dict[int, Result | None] = {}
        # All of them are unacknowledged, hence concurrent: reserved first, a key that ends just now is still running.
        for place, debit in sorted(enumerate(debits), key=lambda pair: isinstance(pair[1], Commit)):
            results[place] = self._decide(accounts.get(session_of(debit)), debit, held, wait=wait)
        moved = [account for account in accounts.values() if account.moved]
        ids = await postgres_booking.write(connection, epoch, moved)
        return [_numbered(results[place], debit, epoch, ids) for place, debit in enumerate(debits)]

    def _decide(self, account: Account | None, debit: Debit, held: dict[int, int], *, wait: bool) -> Result | None:
        if isinstance(debit, ReserveRequest):
            if account is None:
                return ReserveResult(ReserveOutcome.UNKNOWN) if wait else None
            return account.reserve(debit)
        if account is None:
            return CommitResult(CommitOutcome.LOST) if wait else None
        amount = held.pop(debit.reservation.id, None)
        return CommitResult(CommitOutcome.LOST) if amount is None else account.end(debit, amount, self._limits)


def session_of(debit: Debit) -> str:
    """Id of the session whose money it is about."""
    return debit.session_id if isinstance(debit, ReserveRequest) else debit.reservation.session_id


def _numbered(result: Result | None, debit: Debit, epoch: int, ids: Mapping[Row, list[int]]) -> Result | None:
    """The result, with the reservation that the database numbered where it is of one."""
    if not isinstance(result, ReserveResult) or not isinstance(debit, ReserveRequest) or result.session is None:
        return result
    if result.outcome is not ReserveOutcome.RESERVED:
        return result
    which = (result.session.number, debit.key, debit.fingerprint, debit.amount)
    reservation = Reservation(
        id=ids[which].pop(),
        session_id=debit.session_id,
        key=debit.key,
        fingerprint=debit.fingerprint,
        amount=ledger_amount(debit.amount),
        units=debit.units,
        epoch=epoch,
    )
    return replace(result, reservation=reservation)
