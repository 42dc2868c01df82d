"""Any sequence of calls and deaths: after every step the ledger agrees with its model, and money is conserved.

A store is a subclass that opens its books, and knows what its process leaves when it dies.
"""

import random
from collections import Counter
from typing import ClassVar

import psycopg

from retainer_provider.books.ledger import Ledger
from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.disks import PowerCutDisk
from tests.machine.deaths import Deaths
from tests.machine.deposits import Deposits
from tests.machine.settling import Settling
from tests.postgres import empty

_END_CONNECTIONS = """
  SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()"""


class LedgerMachine(Deposits, Settling, Deaths):
    """All of it."""


def sqlite_machine() -> type[LedgerMachine]:
    """The machine on books in a file, a new one for each run; a death is a power cut."""

    class SqliteMachine(LedgerMachine):
        met: ClassVar[Counter[str]] = Counter()
        shared = False

        def __init__(self) -> None:
            self.disk = PowerCutDisk()
            self.luck = random.Random(0)
            super().__init__()

        async def open_books(self, *, anew: bool) -> Ledger:
            return await SqliteLedger.open(self.folder / "ledger.db")

        async def die(self) -> None:
            survivors = self.folder / "next"
            survivors.mkdir()
            self.disk.cut(survivors, self.luck)
            self.folder = survivors

        def teardown(self) -> None:
            try:
                super().teardown()
            finally:
                self.disk.remove()

    return SqliteMachine


def postgres_machine(url: str) -> type[LedgerMachine]:
    """The machine on a database, emptied for each run; a death breaks all connections and ends the leases."""

    class PostgresMachine(LedgerMachine):
        met: ClassVar[Counter[str]] = Counter()
        shared = True

        async def open_books(self, *, anew: bool) -> Ledger:
            if anew:
                empty(url)
            return await PostgresLedger.open(url, connections=2)

        async def die(self) -> None:
            _execute(_END_CONNECTIONS)
            await self.fence()

        async def fence(self) -> None:
            _execute("UPDATE process SET lease_until = '-infinity'")

    def _execute(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)

    return PostgresMachine
