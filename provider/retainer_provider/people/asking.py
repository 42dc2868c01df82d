"""Asking the service that is sold, for people: paid from a session, or free. The engine meters, as for every agent."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from starlette.types import Scope

from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import parse_receipt
from retainer_provider.books.records import SessionRecord
from retainer_provider.offers import Offer
from retainer_provider.people.views import amounts
from retainer_provider.sessions.engine import Engine
from retainer_provider.sessions.metering import Delivery, DeliveryKind, MeteredRequest
from retainer_provider.sessions.refusals import refuse
from retainer_provider.sessions.streaming import MeteredStream
from retainer_provider.sessions.vouchers import check_metered
from retainer_provider.wire import headers
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.paid import SCOPE_KEY, PaidRequest
from retainer_provider.wire.routing import Finder, Priced, Unpriced
from retainer_provider.wire.upstream import Upstream, UpstreamResult

_METHOD: Final = re.compile(r"[A-Z]{3,7}\Z", re.ASCII)
_TARGET: Final = re.compile(r"/[\x21-\x22\x24-\x7e]*\Z", re.ASCII)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}\Z", re.ASCII)
_VALUE: Final = re.compile(r"[\x20-\x7e\t]{0,4096}\Z", re.ASCII)
# A page says what it asks; who it is and how long the body is, this service says.
_OURS: Final = frozenset({"authorization", "cookie", "content-length", "host", "origin", "referer"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page wants from the service; `target` is path and query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def __post_init__(self) -> None:
        if not _METHOD.match(self.method) or not _TARGET.match(self.target):
            raise refuse(
                ProblemType.REQUEST_MALFORMED,
                '`method` is one such as "POST", and `path` starts with "/", in ASCII without blanks and "#".',
            )
        for name, value in self.headers.items():
            if not _NAME.match(name) or not _VALUE.match(value):
                raise refuse(ProblemType.REQUEST_MALFORMED, "`headers` holds a name or value that no header can have.")

    def scope(self, outer: Scope) -> Scope:
        """The request as the service behind will see it, before what is never passed on is dropped."""
        path, _, query = self.target.partition("?")
        kept = [(name.lower(), value) for name, value in self.headers.items() if name.lower() not in _OURS]
        host = headers.values(outer["headers"], "host")
        return {
            "type": "http",
            "asgi": outer.get("asgi", {"version": "3.0"}),
            "http_version": "1.1",
            "method": self.method,
            "scheme": outer.get("scheme", "http"),
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers.encode([*kept, *(("host", value) for value in host[:1])]),
            "client": outer.get("client"),
            "server": outer.get("server"),
        }


class Asker:
    """Prices and asks; `find` says what a path costs."""

    def __init__(self, *, engine: Engine, find: Finder, upstream: Upstream) -> None:
        self._engine = engine
        self._find = find
        self._upstream = upstream

    def price(self, scope: Scope) -> Priced | None:
        """What a request costs; None where it is free for everybody. RefusedError where nothing is served."""
        target = self._find(scope)
        if isinstance(target, Priced):
            return target
        if target is Unpriced.FREE:
            return None
        raise refuse(
            ProblemType.ROUTE_UNKNOWN if target is Unpriced.UNKNOWN else ProblemType.REQUEST_MALFORMED,
            "Nothing is sold at this path: see the routes of this service's offers."
            if target is Unpriced.UNKNOWN
            else "This path can be read in more than one way: send it without dot segments and needless escapes.",
        )

    async def paid(
        self, record: SessionRecord, asked: Asked, outer: Scope, key: str | None, *, flows: bool
    ) -> dict[str, Json] | MeteredStream:
        """The answer to a request that a session pays for, with what it cost; as it comes where it `flows`."""
        if refusal := check_metered(record):
            raise refuse(refusal.problem, refusal.detail)
        scope = asked.scope(outer)
        sold = self.price(scope)
        if sold is None:
            raise refuse(ProblemType.REQUEST_MALFORMED, "This path is free: ask it directly, without a session.")

        async def read() -> MeteredRequest:
            return MeteredRequest(asked.method, asked.target, asked.body, key, None, sold.tariff)

        async def call(_: MeteredRequest) -> UpstreamResult:
            return await self._call(scope, asked.body, sold, record.session_id, stream=flows and sold.tariff.stream)

        delivery = await self._engine.serve(record, sold.offer, read, call)
        return delivery if isinstance(delivery, MeteredStream) else _paid_json(delivery, sold.offer)

    async def given(self, asked: Asked, outer: Scope, sold: Priced) -> Answer | None:
        """The answer to a request that is given away; None where the service behind gave none."""
        outcome = (await self._call(asked.scope(outer), asked.body, sold, None)).outcome
        return outcome if isinstance(outcome, Answer) else None

    async def _call(
        self, scope: Scope, body: bytes, sold: Priced, session_id: str | None, *, stream: bool = False
    ) -> UpstreamResult:
        forwarded = headers.to_upstream(
            scope["headers"], session_id=session_id, body_length=len(body), plain=sold.tariff.reads_bodies
        )
        told: Scope = {**scope, "headers": forwarded}
        if session_id is not None:
            told[SCOPE_KEY] = PaidRequest(session_id, sold.offer.id, sold.tariff)
        return await self._upstream.call(told, body, stream=stream)


def _paid_json(delivery: Delivery, offer: Offer) -> dict[str, Json]:
    stored = delivery.answer
    receipt = parse_receipt(stored.receipt)
    metered = None if receipt.retainer is None else receipt.retainer.metered
    charged = metered is not None and metered.charged
    amount = metered.amount if metered is not None and charged else 0
    return {
        "response": response_json(stored.status, stored.headers, stored.body),
        "charge": {
            "kind": "charged" if charged else "free",
            **amounts(offer.decimals, amount=amount),
            "term": None if metered is None else metered.term,
            "replayed": delivery.kind is DeliveryKind.REPLAYED,
        },
        "receipt": stored.receipt,
    }


def response_json(status: int, named: tuple[tuple[str, str], ...], content: bytes | None) -> dict[str, Json]:
    """The answer of the service behind; text where it is text."""
    body, encoding = None, "utf-8"
    if content is not None:
        try:
            body = content.decode()
        except UnicodeDecodeError:
            body, encoding = base64.b64encode(content).decode(), "base64"
    return {"status": status, "headers": dict(named), "body": body, "encoding": encoding}
