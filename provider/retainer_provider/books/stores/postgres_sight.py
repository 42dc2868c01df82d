"""What a group of debits is decided from, in PostgreSQL: its sessions, locked, and what the books have of its requests.

The rows are locked first. Keys and reservations are looked up only then, by statements of their own, which see what
was committed while a row was waited for.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer_provider.books.records import Reservation, ReserveRequest, SessionRecord, StoredAnswer
from retainer_provider.books.stores.postgres_account import Account
from retainer_provider.books.stores.postgres_rows import HELD_COLUMNS, Connection, all_rows, held_record, integers
from retainer_provider.books.stores.rows import MOVING_COLUMNS, moved

_LOCK: Final = f"""
  SELECT session_id, number, state, answer_bytes, reserved, {MOVING_COLUMNS} FROM session
  WHERE session_id = ANY (%(ids)s) FOR NO KEY UPDATE"""
_LOCK_NOW: Final = _LOCK + " SKIP LOCKED"
_WHOLE: Final = f"SELECT {HELD_COLUMNS} FROM session WHERE number = ANY (%(numbers)s::bigint[])"
_KNOWN: Final = """
  WITH wanted AS (SELECT * FROM unnest(%(numbers)s::bigint[], %(keys)b::text[]) AS wanted (session, key))
  SELECT session, key, fingerprint, status, headers, body, receipt FROM wanted JOIN answer USING (session, key)
  UNION ALL
  SELECT session, key, fingerprint, NULL, NULL, NULL, NULL FROM wanted JOIN reservation USING (session, key)"""
# The fence: nothing is charged under another epoch than the reservation's, or after its lease.
_TAKE: Final = """
  DELETE FROM reservation USING process, unnest(%(ids)s::bigint[], %(epochs)s::bigint[]) AS ended (id, epoch)
  WHERE reservation.id = ended.id AND reservation.epoch = ended.epoch
    AND process.epoch = reservation.epoch AND process.lease_until > clock_timestamp()
  RETURNING reservation.id, reservation.amount"""
# Some kilobytes each.
_REMEMBERED: Final = 4096


class Sight:
    """Reads the rows, and remembers what of an ACTIVE session does not change before it is none any more."""

    def __init__(self) -> None:
        self._active: dict[str, SessionRecord] = {}

    async def lock(self, connection: Connection, session_ids: Collection[str], *, wait: bool) -> Mapping[str, Account]:
        """The sessions by id, ours until the transaction ends: those there are, or can be had without waiting.

        Nobody waits for more than one, so that nobody who holds a row waits for another.
        """
        rows = await all_rows(connection, _LOCK if wait else _LOCK_NOW, {"ids": list(session_ids)})
        remembered = {
            session_id: self._active[session_id]
            for session_id, _, state, *_ in rows
            if state == SessionState.ACTIVE and session_id in self._active
        }
        new = [number for session_id, number, *_ in rows if session_id not in remembered]
        whole = await self._read(connection, new) if new else {}
        accounts = {}
        for session_id, _, _, answer_bytes, reserved, *moving in rows:
            session = whole.get(session_id) or moved(remembered[session_id], moving, BaseUnits(reserved))
            accounts[session_id] = Account(session, answer_bytes)
        return accounts

    async def _read(self, connection: Connection, numbers: Iterable[int]) -> Mapping[str, SessionRecord]:
        rows = await all_rows(connection, _WHOLE, {"numbers": integers(numbers)})
        whole = {session.session_id: session for session in map(held_record, rows)}
        for session_id, session in whole.items():
            if session.state is SessionState.ACTIVE:
                self._active[session_id] = session
        while len(self._active) > _REMEMBERED:
            del self._active[next(iter(self._active))]  # the one read longest ago
        return whole


async def look_up(connection: Connection, accounts: Mapping[str, Account], requests: Iterable[ReserveRequest]) -> None:
    """Tell the accounts what the books have of the requests' keys."""
    by_number = {account.before.number: account for account in accounts.values()}
    pairs = {
        (accounts[request.session_id].before.number, request.key) for request in requests if request.key is not None
    }
    if pairs:
        bindings = {"numbers": integers(number for number, _ in pairs), "keys": [key for _, key in pairs]}
        for number, key, fingerprint, *answer in await all_rows(connection, _KNOWN, bindings):
            by_number[number].known[key] = (fingerprint, _stored(*answer))


async def take(connection: Connection, reservations: Iterable[Reservation]) -> dict[int, int]:
    """End those that are still held; gives by id what each held."""
    ended = {(reservation.id, reservation.epoch) for reservation in reservations}
    if not ended:
        return {}
    bindings = {"ids": integers(number for number, _ in ended), "epochs": integers(epoch for _, epoch in ended)}
    return dict(await all_rows(connection, _TAKE, bindings))


def _stored(status: int | None, headers: str, body: bytes | None, receipt: str) -> StoredAnswer | None:
    if status is None:
        return None
    return StoredAnswer(status, tuple((name, value) for name, value in json.loads(headers)), body, receipt)
