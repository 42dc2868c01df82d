"""Routes that cost what an answer used: the maximum is reserved, the use is charged (F10, F12)."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import apsw
import pytest
from starlette.types import Message, Receive, Scope, Send

from retainer.protocol.challenges import parse_challenge_headers
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import parse_receipt
from retainer.protocol.usage import usage_root
from retainer_provider.books.outcomes import DeliverOutcome
from retainer_provider.wire.paid import SCOPE_KEY, PaidRequest
from tests.integration.conftest import Shop, problem, receipt, reply
from tests.shop import DEPOSIT, PRICE, Opening

ROUTES: list[object] = [
    "/paid/*",
    {"path": "/paid/fixed", "units": 3},
    {"path": "/paid/said", "max_units": 10},
    {"path": "/paid/tokens", "max_units": 10, "count": "/usage/total_tokens", "per_unit": 100, "stream": True},
    {"path": "/paid/bytes", "max_units": 10, "count": "bytes", "per_unit": 4},
    {"path": "/paid/events", "max_units": 5, "count": "events", "stream": True},
    {"path": "/paid/charging", "max_units": 5, "stream": True},
]


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any]) -> dict[str, Any]:
    raw_settings["offers"]["standard"]["routes"] = ROUTES
    raw_settings["limits"]["upstream_seconds"] = 1
    return raw_settings


def saying(units: str | None, body: bytes = b"answer") -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An upstream that says in a header what it used."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, body, 200, *(() if units is None else ((b"retainer-units", units.encode()),)))

    return app


def flowing(*chunks: bytes, after: Callable[[], Awaitable[object]] | None = None) -> Any:  # noqa: ANN401
    """An upstream that streams events, and charges a unit for each where the price is its to say."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        paid = scope[SCOPE_KEY]
        assert isinstance(paid, PaidRequest)
        for chunk in chunks:
            if paid.tariff.count == "units":
                paid.charge(1)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if after is not None:
            await after()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


async def charged(shop: Shop, opening: Opening, path: str) -> tuple[int, int]:
    """The units of a request's receipt, and what the books say that the session has spent in all."""
    answer = await shop.use(opening, path)
    extension = receipt(answer).retainer
    assert extension is not None
    assert extension.metered is not None
    assert extension.metered.amount == extension.metered.units * PRICE
    assert "retainer-units" not in answer.headers
    return extension.metered.units, (await shop.view(opening)).spent


@pytest.mark.parametrize(
    ("path", "app", "units"),
    [
        ("/paid/fixed", saying("7"), 3),
        ("/paid/said", saying("7"), 7),
        ("/paid/said", saying("0"), 0),
        ("/paid/said", saying("11"), 10),
        ("/paid/said", saying(None), 1),
        ("/paid/said", saying("-1"), 1),
        ("/paid/said", saying("much"), 1),
        ("/paid/tokens", saying(None, b'{"usage": {"total_tokens": 201}}'), 3),
        ("/paid/tokens", saying(None, b'{"usage": {"total_tokens": 200}}'), 2),
        ("/paid/tokens", saying(None, b'{"usage": {"total_tokens": "200"}}'), 1),
        ("/paid/tokens", saying(None, b"no JSON"), 1),
        ("/paid/bytes", saying(None, b"123456789"), 3),
        ("/paid/other", saying("7"), 1),
    ],
)
async def test_the_use_is_charged_and_never_more_than_the_maximum(shop: Shop, path: str, app: Any, units: int) -> None:  # noqa: ANN401
    """F10; what the answer does not say costs the route's `units`."""
    shop.upstream.app = app
    assert await charged(shop, await shop.opened(), path) == (units, units * PRICE)


async def test_the_maximum_is_reserved_while_a_request_runs(shop: Shop) -> None:
    """F10: reserved and spent never exceed the deposit, so the second of two that could is refused."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go.wait()
        await saying("2")(scope, receive, send)

    shop.upstream.app = app
    opening = await shop.opened(deposit=15 * PRICE)
    first = asyncio.create_task(shop.use(opening, "/paid/said"))
    await asked.wait()
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    assert record.reserved == 10 * PRICE
    refused = await shop.use(opening, "/paid/said")
    assert problem(refused).type is ProblemType.SESSION_DEPLETED
    assert "up to 0.08" in problem(refused).detail
    go.set()
    await first
    assert (await shop.use(opening, "/paid/said")).status_code == 200
    assert (await shop.view(opening)).spent == 4 * PRICE


async def test_a_402_names_the_most_that_the_route_costs(shop: Shop) -> None:
    unpaid = await shop.http.get("/paid/said")
    [challenge] = parse_challenge_headers([unpaid.headers["www-authenticate"]])
    request = challenge.session_request()
    assert request.retainer is not None
    assert (request.amount, request.unit_type, request.retainer.max_units) == (PRICE, "unit", 10)
    assert "up to 0.08 tokens" in problem(unpaid).detail


async def test_a_client_that_expects_less_is_told_and_charged_nothing(shop: Shop) -> None:
    shop.upstream.app, opening = saying("2"), await shop.opened()
    short = await shop.send(opening.use(), path="/paid/said", headers={"Retainer-Max-Units": "9"})
    assert (problem(short).type, problem(short).extra["maxUnits"]) == (ProblemType.UNITS_NEEDED, 10)
    assert (await shop.view(opening)).spent == 0
    enough = await shop.send(opening.use(), path="/paid/said", headers={"Retainer-Max-Units": "10"})
    assert receipt(enough).spent == 2 * PRICE
    unread = await shop.send(opening.use(), path="/paid/said", headers={"Retainer-Max-Units": "ten"})
    assert problem(unread).type is ProblemType.REQUEST_MALFORMED


async def test_a_free_answer_of_a_dear_route_costs_nothing(shop: Shop) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"broken", 500, (b"retainer-units", b"9"))

    shop.upstream.app = app
    assert await charged(shop, await shop.opened(), "/paid/said") == (0, 0)


async def test_the_log_of_a_usage_priced_session_adds_up(shop: Shop) -> None:
    opening = await shop.opened()
    for units in ("3", "0", "10"):
        shop.upstream.app = saying(units)
        await shop.use(opening, "/paid/said")
    session_id = str(opening.action.channel_id)
    entries, record = await shop.ledger.usage(session_id), await shop.ledger.session(session_id)
    assert record is not None
    assert [(entry.units, entry.amount) for entry in entries] == [(3, 3 * PRICE), (0, 0), (10, 10 * PRICE)]
    assert (record.units_charged, record.spent) == (13, 13 * PRICE)
    assert record.usage_root == usage_root(entries)


def events(body: bytes) -> list[bytes]:
    return body.split(b"\n\n")[:-1]


async def test_a_stream_goes_out_with_a_first_and_a_final_receipt(shop: Shop) -> None:
    shop.upstream.app = flowing(b"data: a\n\nda", b"ta: b\n\n", b": ping\n\n", b"data: c")
    opening = await shop.opened()
    answer = await shop.use(opening, "/paid/events", key="k")
    begun = receipt(answer)
    assert (begun.spent, begun.retainer is not None and begun.retainer.metered) == (0, None)
    *given, last = events(answer.content)
    assert given == [b"data: a", b"data: b", b": ping", b"data: c"]
    final = parse_receipt(last.removeprefix(b"event: payment-receipt\ndata: ").decode())
    assert final.retainer is not None
    assert final.retainer.metered is not None
    assert (final.spent, final.retainer.metered.units) == (3 * PRICE, 3)
    again = await shop.use(opening, "/paid/events", key="k")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (204, "receipt-only")
    assert receipt(again) == final
    assert (await shop.view(opening)).spent == 3 * PRICE


@pytest.mark.parametrize(
    ("path", "chunks", "units"),
    [
        ("/paid/tokens", [b"data: {}\n\n", b'data: {"usage": {"total_tokens": 250}}\n\n', b"data: [DONE]\n\n"], 3),
        ("/paid/tokens", [b"data: {}\n\n", b"data: [DONE]\n\n"], 1),
        ("/paid/charging", [b"data: a\n\n", b"data: b\n\n"], 2),
    ],
)
async def test_a_stream_costs_what_its_service_says(shop: Shop, path: str, chunks: list[bytes], units: int) -> None:
    shop.upstream.app, opening = flowing(*chunks), await shop.opened()
    await shop.use(opening, path)
    assert (await shop.view(opening)).spent == units * PRICE


@pytest.mark.parametrize("path", ["/paid/events", "/paid/charging"])
async def test_a_stream_that_has_used_its_reservation_is_cut_and_says_so(shop: Shop, path: str) -> None:
    """F10: five events are paid for; the sixth does not leave."""
    shop.upstream.app, opening = flowing(*(b"data: %d\n\n" % number for number in range(9))), await shop.opened()
    *given, error, last = events((await shop.use(opening, path)).content)
    assert given == [b"data: %d" % number for number in range(5)]
    assert error.startswith(b"event: error\ndata: ")
    assert json.loads(error.partition(b"data: ")[2])["type"] == ProblemType.UNITS_EXHAUSTED
    assert last.startswith(b"event: payment-receipt\n")
    assert (await shop.view(opening)).spent == 5 * PRICE


async def test_an_upstream_that_breaks_off_is_paid_for_what_it_gave(shop: Shop) -> None:
    """F12."""

    async def fall() -> None:
        raise RuntimeError("fell over")

    shop.upstream.app, opening = flowing(b"data: a\n\n", b"data: b\n\ndata: c", after=fall), await shop.opened()
    a, b, error, _ = events((await shop.use(opening, "/paid/events")).content)
    assert (a, b) == (b"data: a", b"data: b")
    assert json.loads(error.partition(b"data: ")[2])["type"] == ProblemType.UPSTREAM_UNAVAILABLE
    assert (await shop.view(opening)).spent == 2 * PRICE


async def test_an_upstream_that_stalls_is_given_up(shop: Shop) -> None:
    """F12."""
    shop.upstream.app, opening = flowing(b"data: a\n\n", after=asyncio.Event().wait), await shop.opened()
    _, error, _ = events((await shop.use(opening, "/paid/events")).content)
    assert b"took too long" in error
    assert (await shop.view(opening)).spent == PRICE


async def test_an_event_stream_that_breaks_its_sla_is_given_whole_and_free(shop: Shop) -> None:
    """Its status is no success, so that it does not flow; free answers are counted before they leave."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"data: sorry\n\n", 500, (b"content-type", b"text/event-stream"))

    shop.upstream.app, opening = app, await shop.opened()
    answer = await shop.use(opening, "/paid/events")
    assert (answer.status_code, answer.content) == (500, b"data: sorry\n\n")
    assert receipt(answer).spent == 0


@dataclass
class Listener:
    """A client that leaves after so many chunks."""

    stays_for: int
    heard: list[bytes] = field(default_factory=list)
    _left: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: bool = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if body := message.get("body"):
            self.heard.append(body)
            if len(self.heard) == self.stays_for:
                self._left.set()
                await asyncio.sleep(0)


def listening(opening: Opening) -> Scope:
    """A request for a stream, as a server hands it to the service."""
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/paid/events",
        "raw_path": b"/paid/events",
        "query_string": b"",
        "headers": [(b"authorization", opening.use().encode()), (b"idempotency-key", b"k")],
    }


async def test_a_client_that_leaves_pays_for_what_it_was_sent(shop: Shop) -> None:
    """F12."""
    stopped = asyncio.Event()

    async def on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    shop.upstream.app, opening = flowing(b"data: a\n\n", b"data: b\n\n", after=on), await shop.opened()
    listener = Listener(stays_for=2)
    await shop.app(listening(opening), listener.receive, listener.send)
    await asyncio.wait_for(stopped.wait(), 5)
    assert listener.heard == [b"data: a\n\n", b"data: b\n\n"]
    view = await shop.view(opening)
    assert (view.spent, view.remaining) == (2 * PRICE, DEPOSIT - 2 * PRICE)
    again = await shop.use(opening, "/paid/events", method="GET", key="k", content=None)
    assert (again.status_code, receipt(again).spent) == (204, 2 * PRICE)


@pytest.mark.row("F11", attack="a crash at any event of a stream", twin="what had left is in the books by then")
async def test_each_event_is_in_the_books_before_it_leaves(shop: Shop) -> None:
    """F11: read from the file, as another process would find it after a crash."""
    shop.upstream.app, opening = flowing(*(b"data: %d\n\n" % number for number in range(4))), await shop.opened()
    listener, found = Listener(stays_for=99), list[int]()

    async def send(message: Message) -> None:
        if message.get("body", b"").startswith(b"data: "):
            # By the library that has the file open here: another one would take it for its own to clean up.
            with closing(apsw.Connection(str(shop.settings.service.database), apsw.SQLITE_OPEN_READONLY)) as books:
                progress = books.execute("SELECT progress FROM stream").get
            found.append(json.loads(progress)["charge"]["units"])
        await listener.send(message)

    await shop.app(listening(opening), listener.receive, send)
    given = b"".join(listener.heard).count(b"data: ") - 1
    assert (found, given) == ([1, 2, 3, 4], 4)
    assert (await shop.view(opening)).spent == 4 * PRICE


async def test_nothing_leaves_that_the_books_did_not_take(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """F23: the stream ends, and what had left before is charged."""
    shop.upstream.app, opening = flowing(*(b"data: %d\n\n" % number for number in range(4))), await shop.opened()
    kept = list[None]()

    async def deliver(_: object, __: object) -> DeliverOutcome:
        kept.append(None)
        return DeliverOutcome.KEPT if len(kept) < 3 else DeliverOutcome.LOST

    monkeypatch.setattr(shop.ledger, "deliver", deliver)
    *given, error, last = events((await shop.use(opening, "/paid/events")).content)
    assert given == [b"data: 0", b"data: 1"]
    assert b"can be charged no further" in error
    final = parse_receipt(last.removeprefix(b"event: payment-receipt\ndata: ").decode())
    assert final.spent == (await shop.view(opening)).spent == 2 * PRICE


async def test_a_client_that_takes_nothing_more_is_given_up(shop: Shop) -> None:
    """F21: else it would hold its reservation for as long as it likes."""
    shop.upstream.app, opening = flowing(*(b"data: %d\n\n" % number for number in range(9))), await shop.opened()
    listener = Listener(stays_for=99)

    async def send(message: Message) -> None:
        await listener.send(message)
        if len(listener.heard) == 3:
            await asyncio.Event().wait()

    await shop.app(listening(opening), listener.receive, send)
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    assert (record.spent, record.reserved) == (3 * PRICE, 0)


@pytest.mark.parametrize("seed", range(3))
async def test_racing_requests_of_random_use_stay_within_the_deposit(shop: Shop, seed: int) -> None:
    """F10: at every step what is reserved and spent is at most the deposit, and in the end spent is the sum."""
    dice = random.Random(seed)
    opening = await shop.opened(deposit=40 * PRICE)
    session_id, seen = str(opening.action.channel_id), list[bool]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record = await shop.ledger.session(session_id)
        assert record is not None
        seen.append(record.reserved + record.spent <= record.deposit)
        await asyncio.sleep(0)
        await saying(str(dice.randint(0, 12)))(scope, receive, send)

    shop.upstream.app = app
    answers = await asyncio.gather(*(shop.use(opening, "/paid/said") for _ in range(30)))
    served = [answer for answer in answers if answer.status_code == 200]
    assert all(problem(answer).type is ProblemType.SESSION_DEPLETED for answer in answers if answer not in served)
    entries, record = await shop.ledger.usage(session_id), await shop.ledger.session(session_id)
    assert record is not None
    assert len(served) == len(entries) == len(seen) >= 4
    assert (all(seen), record.reserved) == (True, 0)
    assert record.spent == sum(entry.amount for entry in entries) <= record.deposit
