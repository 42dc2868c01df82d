"""Asking SQLite for one row."""

from typing import Any

import apsw


def first_row(connection: apsw.Connection, statement: str, bindings: "apsw.Bindings") -> tuple[Any, ...] | None:
    """Run the statement to its end, as one with RETURNING must be, and give its first row."""
    rows = connection.execute(statement, bindings).fetchall()
    return rows[0] if rows else None
