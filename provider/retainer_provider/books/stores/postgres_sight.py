"""What a group of debits is decided from, in PostgreSQL: sessions as they were seen last, or are under a lock.

Where rows are locked, that is first. Keys and reservations are looked up only then, by statements of their own, which
see what was committed while a row was waited for.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from msgspec.structs import replace

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
# What the write would end of them, locked until then.
_HELD: Final = """
  SELECT reservation.id, reservation.amount FROM reservation
  JOIN unnest(%(ids)s::bigint[], %(epochs)s::bigint[]) AS ending (id, epoch) USING (id, epoch)
  JOIN process USING (epoch)
  WHERE process.lease_until > clock_timestamp() FOR UPDATE OF reservation"""
# Some kilobytes each.
_REMEMBERED: Final = 4096


class _Seen(NamedTuple):
    session: SessionRecord
    answer_bytes: int
    alone: bool = True  # whether no other process had charged it when it was last looked at


class Sight:
    """Reads sessions under their locks, and remembers the ACTIVE ones as they were when they were seen last.

    Nobody trusts what is remembered: the write finds out whether it still is so. Where it was not, somebody else uses
    the session too, and it is looked at under its lock until it is found as it was left.
    """

    def __init__(self) -> None:
        self._active: dict[str, _Seen] = {}

    def recall(self, session_ids: Collection[str]) -> Mapping[str, Account]:
        """The sessions by id that are remembered, in no transaction: so somebody may have changed them since."""
        seen = {name: self._active[name] for name in session_ids if name in self._active}
        return {name: Account(last.session, last.answer_bytes) for name, last in seen.items() if last.alone}

    def learn(self, account: Account, reserved: BaseUnits) -> None:
        """Remember the session as it was just written, with what running requests of all processes hold."""
        session = account.session
        seen = self._active.get(session.session_id)
        if seen is not None:
            current = session if session.reserved == reserved else replace(session, reserved=reserved)
            self._active[session.session_id] = _Seen(current, account.answer_bytes, seen.alone)

    def doubt(self, session_ids: AbstractSet[str]) -> None:
        """What was remembered of them was not so any more."""
        for session_id in session_ids & self._active.keys():
            self._active[session_id] = self._active[session_id]._replace(alone=False)

    async def lock(self, connection: Connection, session_ids: Collection[str], *, wait: bool) -> Mapping[str, Account]:
        """The sessions by id, ours until the transaction ends: those there are, or can be had without waiting.

        Nobody waits for more than one, so that nobody who holds a row waits for another.
        """
        rows = await all_rows(connection, _LOCK if wait else _LOCK_NOW, {"ids": list(session_ids)})
        accounts, new = {}, {}
        for session_id, number, state, answer_bytes, reserved, *moving in rows:
            seen = self._active.get(session_id)
            if seen is None or state != SessionState.ACTIVE:
                new[number] = answer_bytes
            else:
                accounts[session_id] = Account(moved(seen.session, moving, BaseUnits(reserved)), answer_bytes)
        for session in await self._read(connection, new) if new else ():
            accounts[session.session_id] = Account(session, new[session.number])
        self._remember(accounts)
        return accounts

    async def _read(self, connection: Connection, numbers: Iterable[int]) -> Iterable[SessionRecord]:
        return map(held_record, await all_rows(connection, _WHOLE, {"numbers": integers(numbers)}))

    def _remember(self, accounts: Mapping[str, Account]) -> None:
        for session_id, account in accounts.items():
            session, seen = account.session, self._active.get(session_id)
            if session.state is SessionState.ACTIVE:
                alone = seen is None or seen.session.usage_root == session.usage_root
                self._active[session_id] = _Seen(session, account.answer_bytes, alone)
            else:
                self._active.pop(session_id, None)
        while len(self._active) > _REMEMBERED:
            del self._active[next(iter(self._active))]  # the one first asked for longest ago


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


async def still_held(connection: Connection, reservations: Iterable[Reservation]) -> dict[int, BaseUnits]:
    """Those that are still held, by this epoch of ours; gives by id what each holds."""
    ended = {(reservation.id, reservation.epoch) for reservation in reservations}
    if not ended:
        return {}
    bindings = {"ids": integers(number for number, _ in ended), "epochs": integers(epoch for _, epoch in ended)}
    return {number: BaseUnits(amount) for number, amount in await all_rows(connection, _HELD, bindings)}


def _stored(status: int | None, headers: str, body: bytes | None, receipt: str) -> StoredAnswer | None:
    if status is None:
        return None
    return StoredAnswer(status, tuple((name, value) for name, value in json.loads(headers)), body, receipt)
