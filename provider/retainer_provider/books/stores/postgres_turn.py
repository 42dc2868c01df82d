"""Keeping this process's turn at the shared books, and clearing up after processes that lost theirs."""

import asyncio
import os
import socket
from typing import Final

import structlog

from retainer_provider.books.ledger import LedgerInterruptedError
from retainer_provider.books.records import Reservation
from retainer_provider.books.stores import postgres_leases, postgres_requests
from retainer_provider.books.stores.postgres_pool import Transactions

_log = structlog.get_logger(__name__)

# So often in a lease it is renewed, so that a lost attempt loses nothing.
_RENEWALS: Final = 4


class Turn:
    """An epoch under a lease of ``seconds``, renewed in the background from ``begin`` to ``end``."""

    def __init__(self, transactions: Transactions, seconds: float) -> None:
        self._transactions = transactions
        self._seconds = seconds
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._keeper: asyncio.Task[None] | None = None
        self._owed: set[Reservation] = set()
        self.epoch = 0
        self.failure: str | None = None

    @property
    def transactions(self) -> Transactions:
        """On the connection that is kept for leases."""
        return self._transactions

    async def begin(self) -> None:
        """Take the first epoch."""
        await self._transactions.open()
        try:
            self.epoch = await self._transactions.write(postgres_leases.begin, self._owner, self._seconds)
            await self._clear_up()
        except BaseException:
            await self._transactions.aclose()
            raise
        self._keeper = asyncio.create_task(self._keep())

    def owe(self, reservation: Reservation) -> None:
        """Release this one once the database answers again: until then it holds its session's money and its end."""
        self._owed.add(reservation)

    async def end(self) -> None:
        """Give back what is held still. Should the database not answer, the lease runs out by itself."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        try:
            await self._transactions.write(postgres_leases.end, self.epoch)
            await self._clear_up()
        except LedgerInterruptedError as error:
            _log.warning("ledger_turn_not_ended", epoch=self.epoch, reason=str(error))
        finally:
            await self._transactions.aclose()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / _RENEWALS)
            try:
                await self._renew()
                await self._clear_up()
                self.failure = None
            except LedgerInterruptedError as error:
                self.failure = str(error)
                _log.error("ledger_lease_not_renewed", epoch=self.epoch, reason=str(error))

    async def _renew(self) -> None:
        if await self._transactions.write_soon(postgres_leases.renew, self.epoch, self._seconds):
            return
        lost, self.epoch = self.epoch, await self._transactions.write(postgres_leases.begin, self._owner, self._seconds)
        _log.error("ledger_lease_lost", epoch=lost, next=self.epoch)

    async def _clear_up(self) -> None:
        """Give back what we owe, and what processes hold whose lease has passed, whoever they were."""
        for reservation in tuple(self._owed):
            await self._transactions.write(postgres_requests.release, reservation)
            self._owed.discard(reservation)
        for number in await self._transactions.read(postgres_leases.holding):
            released = await self._transactions.write_soon(postgres_leases.give_back, number)
            if released:
                _log.warning("ledger_reservations_reclaimed", session_number=number, requests=released)
        await self._transactions.write_soon(postgres_leases.forget)
