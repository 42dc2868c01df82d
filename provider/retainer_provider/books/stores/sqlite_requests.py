"""A request's money in SQL: reserved, then committed or released."""

import json
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import apsw

from retainer.protocol.usage import UsageEntry
from retainer.protocol.vouchers import SignedVoucher, voucher_to_json
from retainer_provider.books.outcomes import ReserveOutcome
from retainer_provider.books.records import StoredAnswer
from retainer_provider.books.stores import archive_sql
from retainer_provider.books.stores.sqlite_rows import first_row
from retainer_provider.books.stores.sqlite_sessions import FIGURES_COLUMNS, figures_of
from retainer_provider.books.stores.sqlite_standings import Figures

Kept: TypeAlias = tuple[bytes, StoredAnswer]
"""The fingerprint of a request that was answered under a key, and its answer."""

_KEPT: Final = "fingerprint, status, headers, body, receipt"
_ANSWER: Final = f"SELECT {_KEPT} FROM answer WHERE session = ? AND key = ?"
_FIRST: Final = f"""
  SELECT {_KEPT}, {FIGURES_COLUMNS} FROM session LEFT JOIN answer ON answer.session = number AND answer.key = ?
  WHERE session_id = ?"""
_KEPT_COLUMNS: Final = len(_KEPT.split(", "))
_ACCEPT: Final = """
  UPDATE session SET accepted = :cumulative, voucher = :voucher
  WHERE number = :number AND state = 'active' AND voucher_signer = 'client'
    AND accepted < :cumulative AND :cumulative <= deposit AND :cumulative - spent >= :amount
  RETURNING number"""
_USAGE_PAGE: Final = """
  SELECT entry FROM usage WHERE session = (SELECT number FROM session WHERE session_id = ?) AND sequence > ?
  ORDER BY sequence LIMIT ?"""
_PURGE: Final = """
  DELETE FROM answer WHERE id IN (
    SELECT answer.id FROM session JOIN answer ON answer.session = session.number
    WHERE session.state = 'refunded' AND session.closed_at < ? LIMIT ?
  )"""


def accept(connection: apsw.Connection, number: int, signed: SignedVoucher, amount: int) -> ReserveOutcome | None:
    """Keep a voucher that pays for ``amount`` before anything is served for it; None once it is kept."""
    bindings = {
        "number": number,
        "cumulative": signed.voucher.cumulative,
        "voucher": json.dumps(voucher_to_json(signed)),
        "amount": amount,
    }
    return None if first_row(connection, _ACCEPT, bindings) else ReserveOutcome.VOUCHER_LOW


def first_look(connection: apsw.Connection, session_id: str, key: str | None) -> tuple[Figures, Kept | None] | None:
    """The session's row, and what is ``stored`` under the key: both at once cost less than one after the other."""
    row = first_row(connection, _FIRST, (key, session_id))
    if row is None:
        return None
    kept = row[:_KEPT_COLUMNS]
    return figures_of(row[_KEPT_COLUMNS:]), None if kept[0] is None else _kept(kept)


def stored(connection: apsw.Connection, number: int, key: str) -> Kept | None:
    """What was answered under the key."""
    row = first_row(connection, _ANSWER, (number, key))
    return None if row is None else _kept(row)


def _kept(row: Sequence[Any]) -> Kept:
    fingerprint, status, headers, body, receipt = row
    pairs = tuple((name, value) for name, value in json.loads(headers))
    return fingerprint, StoredAnswer(status, pairs, body, receipt)


def purge_answers(connection: apsw.Connection, closed_before: int, limit: int) -> int:
    """See ``Ledger.purge_answers``."""
    connection.execute(_PURGE, (closed_before, limit))
    return connection.changes()


def old_logs(connection: apsw.Connection, closed_before: int, limit: int) -> list[str]:
    """See ``Ledger.old_logs``."""
    return [str(found) for (found,) in connection.execute(archive_sql.old_logs("?", "?"), (closed_before, limit))]


def forget_log(connection: apsw.Connection, session_id: str, usage_root: bytes) -> int:
    """See ``Ledger.forget_log``."""
    connection.execute(archive_sql.forget_log("?", "?"), (session_id, usage_root))
    return connection.changes()


def usage(connection: apsw.Connection, session_id: str, after: int, limit: int) -> list[UsageEntry]:
    """See ``Ledger.usage``."""
    rows = connection.execute(_USAGE_PAGE, (session_id, after, limit))
    return [UsageEntry.from_json(json.loads(str(entry))) for (entry,) in rows]
