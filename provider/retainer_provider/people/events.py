"""What happens to a session, as server-sent events. Read from the books, so that any process tells the same.

An event's id says how far in the books its reader is: request number, cards' events, state, deposit, invoices. So a
reader that comes back with one, to whichever process, is told what it has missed, and nothing is kept for it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json, canonical_json, decode_base64url, encode_base64url
from retainer.protocol.errors import MessageError
from retainer_provider.activity.log import events_after, latest
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.people import Grant, Invoice, TokenStage
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.people.access import Caller
from retainer_provider.people.views import invoice_state, invoice_view
from retainer_provider.sessions.engine import Engine

MEDIA_TYPE: Final = "text/event-stream"
_SCOPE: Final = "session"
_LOOK_SECONDS: Final = 0.5
_ALIVE_SECONDS: Final = 15.0
_PAGE: Final = 1_000
_LONGEST_ID: Final = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader is. `session` is what the session's last event said, empty before the first."""

    sequence: int = 0
    activity: int = 0
    session: str = ""
    invoices: dict[str, str] = field(default_factory=dict)

    def id(self) -> str:
        """As an event's id."""
        said: dict[str, Json] = {"n": self.sequence, "a": self.activity, "s": self.session, "i": {**self.invoices}}
        return encode_base64url(canonical_json(said))

    @classmethod
    def of(cls, text: str) -> "Place | None":
        """The place that a reader names; None for what is no place, which starts afresh."""
        try:
            said = json.loads(decode_base64url(text[:_LONGEST_ID], "Last-Event-ID"))
            sequence, session, invoices = int(said["n"]), str(said["s"]), dict(said["i"])
            activity = int(said["a"])
        except (MessageError, ValueError, TypeError, KeyError):
            return None
        return cls(
            max(0, sequence), max(0, activity), session, {str(name): str(state) for name, state in invoices.items()}
        )


class Events:
    """Follows what one token may see."""

    def __init__(self, *, ledger: Ledger, engine: Engine, clock: Clock, decimals: dict[str, int]) -> None:
        self._ledger = ledger
        self._engine = engine
        self._clock = clock
        self._decimals = decimals

    async def follow(self, caller: Caller, start: str | None, ended: asyncio.Event) -> AsyncIterator[bytes]:
        """Events until `ended`, or until the token is revoked; comments while nothing happens."""
        place = None if start is None else Place.of(start)
        silent_since = self._clock.monotonic()
        yield b": welcome\n\n"
        while not ended.is_set():
            grant = await self._ledger.people.token(caller.digest)
            if grant is None or grant.stage is TokenStage.REVOKED:
                session_id = caller.grant.session_id
                yield self._event("token", place or Place(), session_id, session_id or "", {})
                return
            told = False
            async for reached, event in self._news(grant, place):
                place, told = reached, True
                yield event
            now = self._clock.monotonic()
            if told:
                silent_since = now
            elif now - silent_since >= _ALIVE_SECONDS:
                silent_since = now
                yield b": alive\n\n"
            try:
                await asyncio.wait_for(ended.wait(), _LOOK_SECONDS)
            except TimeoutError:
                continue

    async def _news(self, grant: Grant, place: Place | None) -> AsyncIterator[tuple[Place, bytes]]:
        """What has happened since `place`, oldest first. Without a place: how things are, and nothing of the past."""
        usable = grant.stage in (TokenStage.FRESH, TokenStage.LIVE)
        session_id = grant.session_id if usable else None
        record = None if session_id is None else await self._ledger.session(session_id)
        at = place or await self._now(record)
        for invoice in await self._invoices(grant, session_id):
            state = invoice_state(invoice, self._clock.now())
            if at.invoices.get(invoice.invoice_id) != state:
                at = replace(at, invoices={**at.invoices, invoice.invoice_id: state})
                view = invoice_view(invoice, self._decimals.get(invoice.offer_id, 0), self._clock.now())
                yield at, self._event("invoice", at, invoice.session_id, invoice.invoice_id, {"invoice": view})
        if record is None:
            return
        while at.sequence < record.sequence:
            entries = await self._ledger.usage(record.session_id, after=at.sequence, limit=_PAGE)
            if not entries:
                break  # the log went to the archive
            for entry in entries:
                at = replace(at, sequence=entry.sequence)
                said: dict[str, Json] = {
                    "amount": str(entry.amount),
                    "amountDisplay": format_amount(entry.amount, record.decimals),
                    "charged": entry.charged,
                    "units": str(entry.units),
                    "term": entry.term,
                    "status": entry.status,
                    "latencyMs": entry.latency_ms,
                }
                if entry.sequence >= record.sequence:
                    said["session"] = (await self._engine.view(record)).to_json()
                yield at, self._event("request", at, record.session_id, str(entry.sequence), said)
        for one in await events_after(self._ledger, record.session_id, at.activity):
            at = replace(at, activity=one.number)
            yield at, _sent(one.event.kind, at, one.to_json())
        state = _known(record, self._clock.now())
        if at.session != state:
            at = replace(at, session=state)
            view = (await self._engine.view(record)).to_json()
            yield at, self._event("session", at, record.session_id, record.session_id, {"session": view})

    async def _now(self, record: SessionRecord | None) -> Place:
        """The place from which nothing of the past is told."""
        if record is None:
            return Place()
        return Place(sequence=record.sequence, activity=await latest(self._ledger, record.session_id))

    async def _invoices(self, grant: Grant, session_id: str | None) -> list[Invoice]:
        """Its own while nothing is paid, then those of its session that are not history."""
        if session_id is not None:
            return (await self._ledger.people.session_invoices(session_id))[-3:]
        own = None if grant.invoice_id is None else await self._ledger.people.invoice(grant.invoice_id)
        return [] if own is None else [own]

    def _event(self, name: str, place: Place, session_id: str | None, ref: str, said: dict[str, Json]) -> bytes:
        head: dict[str, Json] = {"scope": _SCOPE, "session_id": session_id, "ref": ref, "at": self._clock.now()}
        return _sent(name, place, {**head, **said})


def _sent(name: str, place: Place, said: Mapping[str, Json]) -> bytes:
    data = canonical_json(said).decode()
    return f"id: {place.id()}\nevent: {name}\ndata: {data}\n\n".encode()


def _known(record: SessionRecord, now: int) -> str:
    """What of a session is worth an event of its own, beside its requests."""
    return f"{record.state_at(now)} {record.deposit} {record.settlement_signature or ''}"
