"""Asking PostgreSQL for one row, and reading sessions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.stores.rows import SESSION_COLUMNS, session_record

Row: TypeAlias = tuple[Any, ...]
Connection: TypeAlias = AsyncConnection[Row]

HELD_COLUMNS: Final = SESSION_COLUMNS + ", reserved"
"""Select list for ``held_record``."""


async def first_row(connection: Connection, statement: str, bindings: Mapping[str, object]) -> Row | None:
    """Run the statement and give its first row."""
    cursor = await connection.execute(statement, bindings)
    return await cursor.fetchone()


async def all_rows(connection: Connection, statement: str, bindings: Mapping[str, object]) -> list[Row]:
    """Run the statement and give its rows."""
    cursor = await connection.execute(statement, bindings)
    return await cursor.fetchall()


def held_record(row: Sequence[Any]) -> SessionRecord:
    """The record of a row selected by HELD_COLUMNS."""
    *columns, reserved = row
    return session_record(columns, BaseUnits(reserved))


def integers(values: Iterable[int | None]) -> str:
    """An array as PostgreSQL reads it: one binding, where psycopg would look at each element's type."""
    return "{" + str([*values])[1:-1].replace("None", "NULL") + "}"
