"""Free asks: so many a day for a visitor and for an address, counted in the books before any work is done."""

import secrets
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.people import FreeOutcome
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.people.asking import Asked, Asker, response_json
from retainer_provider.people.views import amounts
from retainer_provider.people.visitors import counted_as
from retainer_provider.people_settings import FreeTierSettings
from retainer_provider.rates import Slots, Throttle
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.wire.door import caller_of
from retainer_provider.wire.problems import STATUS_INTERNAL
from retainer_provider.wire.routing import Priced, RouteTable, Unpriced

_DAY: Final = 86_400
_ID_BYTES: Final = 16
# Of all free asks: those who pay never wait for those who do not.
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for nothing in return: the visitor's cookie, and the address."""

    cookie: str
    address: str


class FreeTier:
    """`key` is the service's secret, by which visitors and addresses are known in the books."""

    def __init__(self, *, settings: FreeTierSettings, asker: Asker, ledger: Ledger, clock: Clock, key: bytes) -> None:
        self._settings = settings
        self._asker = asker
        self._people = ledger.people
        self._clock = clock
        self._key = key
        self._routes = RouteTable({}, settings.routes)
        self._running = Slots(_AT_ONCE)
        self._returned = Throttle(clock, 1)

    def visitor(self, scope: Scope, cookie: str) -> Visitor:
        """As the books count them."""
        return Visitor(
            counted_as(self._key, "visitor", cookie), counted_as(self._key, "address", caller_of(scope) or "nowhere")
        )

    async def left(self, visitor: Visitor) -> int:
        """Free asks that are left today."""
        count = await self._people.free_count(self._day(), visitor.cookie, visitor.address)
        limits = self._settings
        return max(0, min(limits.asks_per_day - count.visitor, limits.address_most - count.address))

    async def preview(
        self, asked: Asked, outer: Scope, visitor: Visitor, record: SessionRecord | None
    ) -> dict[str, Json]:
        """What will cover a request, and at what price, before any work is done for it."""
        scope = asked.scope(outer)
        sold = self._asker.price(scope)
        if sold is None:
            return {"coveredBy": "nothing", "detail": "This path is free for everyone."}
        offer, full = sold.offer, sold.offer.price * sold.tariff.max_units
        told: dict[str, Json] = {"offer": offer.id, **amounts(offer.decimals, fullPrice=full)}
        price = format_amount(full, offer.decimals)
        most = "up to " if sold.tariff.count else ""
        why = f"This costs {most}{price}: fund a session first."
        if record is not None:
            shortage = _shortage(record, sold, full, self._clock.now())
            if shortage is None:
                left = "" if not full else f" About {record.remaining // full} more of these are paid for."
                return {
                    **told,
                    "coveredBy": "session",
                    **amounts(offer.decimals, price=full),
                    "requestsLeft": str(record.remaining // full) if full else None,
                    "detail": f"Your session pays {most}{price} for this.{left}",
                }
            why = shortage
        left_free = await self.left(visitor) if self._gives(scope) else 0
        if left_free:
            return {
                **told,
                "coveredBy": "free",
                **amounts(offer.decimals, price=0),
                "freeLeft": left_free,
                "detail": f"This one is free: {left_free} of {self._settings.asks_per_day} free asks are left today.",
            }
        return {**told, "coveredBy": "payment", **amounts(offer.decimals, price=full), "freeLeft": 0, "detail": why}

    async def ask(self, asked: Asked, outer: Scope, visitor: Visitor) -> dict[str, Json]:
        """A free answer; RefusedError before any work where the day's are used up."""
        scope = asked.scope(outer)
        sold = self._asker.price(scope)
        if sold is None or not self._gives(scope):
            raise refuse(ProblemType.FREE_QUOTA_EXHAUSTED, "Nothing is given away at this path: fund a session for it.")
        with self._running.hold() as room:
            if not room:
                raise refuse(
                    ProblemType.SERVICE_BUSY, "Too many free asks run at once: try again in a second.", retry_after=1
                )
            ask_id = secrets.token_urlsafe(_ID_BYTES)
            await self._take(ask_id, visitor)
            # A visitor who leaves half-way has had the work done: only what was not answered is given back.
            answer = await self._asker.given(asked, outer, sold)
            if answer is None or answer.status >= STATUS_INTERNAL:
                await self._give_back(ask_id, visitor)
        if answer is None:
            raise RefusedError(
                Refusal(
                    ProblemType.UPSTREAM_UNAVAILABLE,
                    "The service behind gave no answer. The free ask was given back: try again.",
                )
            )
        return {
            "response": response_json(answer.status, answer.headers, answer.body),
            "charge": {
                "kind": "free-tier",
                **amounts(sold.offer.decimals, amount=0),
                "freeLeft": await self.left(visitor),
            },
        }

    async def _take(self, ask_id: str, visitor: Visitor) -> None:
        limits = self._settings
        outcome = await self._people.take_free(
            ask_id,
            self._day(),
            visitor.cookie,
            visitor.address,
            visitor_most=limits.asks_per_day,
            address_most=limits.address_most,
        )
        if outcome is not FreeOutcome.TAKEN:
            whose = "Your" if outcome is FreeOutcome.VISITOR_USED_UP else "Your network's"
            raise refuse(
                ProblemType.FREE_QUOTA_EXHAUSTED,
                f"{whose} free asks of today are used up: fund a session, or come back tomorrow (UTC).",
                extra={"freeLeft": 0},
            )

    async def _give_back(self, ask_id: str, visitor: Visitor) -> None:
        """Not often: who knows how to make the service behind fail would else have it work for nothing."""
        if not self._returned.take(visitor.address):
            await self._people.give_back_free(ask_id)

    def _gives(self, scope: Scope) -> bool:
        return self._settings.asks_per_day > 0 and self._routes.of(scope) is Unpriced.FREE

    def _day(self) -> int:
        return self._clock.now() // _DAY


def _shortage(record: SessionRecord, sold: Priced, full: int, now: int) -> str | None:
    """Why a session cannot pay for a request; None where it can."""
    state = record.state_at(now)
    if record.offer_id != sold.offer.id:
        return f"Your session is for offer {record.offer_id!r}, and this is sold as {sold.offer.id!r}."
    if state is SessionState.DEPLETED or (state is SessionState.ACTIVE and record.remaining < full):
        left, price = (format_amount(units, record.decimals) for units in (record.remaining, full))
        return f"Your session has {left} left, and this may cost {price}: top it up."
    if state is not SessionState.ACTIVE:
        return f"Your session is {state.lower()}: fund a new one."
    return None
