"""What is charged, what is free, and what a retry gets (design section 6; F09 to F12, F18, F31)."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from retainer.protocol.problems import ProblemType, parse_problem
from retainer.protocol.receipts import MeteredDetails
from tests.integration.conftest import Shop, problem, receipt, reply
from tests.shop import DEPOSIT, PRICE
from tests.slow import Slow


def metered(answer: httpx.Response) -> MeteredDetails:
    """The metered part of an answer's receipt."""
    extension = receipt(answer).retainer
    assert extension is not None
    assert extension.metered is not None
    return extension.metered


@pytest.mark.row("F18", attack="a request sent again with its key", twin="the stored answer, one run, one charge")
async def test_a_repeated_request_gets_the_stored_answer_and_is_charged_once(shop: Shop) -> None:
    """F18."""
    opening = await shop.opened()
    first = await shop.use(opening, key="k", content=b"a")
    again = await shop.use(opening, key="k", content=b"a")
    assert (first.text, first.headers["payment-receipt"]) == (again.text, again.headers["payment-receipt"])
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["cache-control"] == "private, no-store"
    assert len(shop.upstream.asked) == 1
    assert (await shop.view(opening)).spent == PRICE


@pytest.mark.parametrize("changed", [{"content": b"b"}, {"path": "/paid/y"}, {"path": "/paid/x?q"}, {"method": "PUT"}])
@pytest.mark.row("F18", attack="one key for two requests: other body, method or target", twin="the first is served")
async def test_a_key_used_for_another_request_is_a_conflict(shop: Shop, changed: dict[str, Any]) -> None:
    """F18, F19."""
    opening = await shop.opened()
    await shop.use(opening, key="k", content=b"a")
    answer = await shop.use(opening, **{"path": "/paid/x", "key": "k", "content": b"a", **changed})
    assert problem(answer).type == ProblemType.IDEMPOTENCY_CONFLICT
    assert answer.status_code == 422
    assert (await shop.view(opening)).spent == PRICE


async def test_a_key_belongs_to_one_session(shop: Shop) -> None:
    first = await shop.opened()
    shop.chain.advance(seconds=3)
    second = await shop.opened()
    await shop.use(first, key="k", content=b"a")
    answer = await shop.use(second, key="k", content=b"b")
    assert (answer.status_code, answer.text) == (200, "echo:b")


async def test_without_a_key_each_request_is_its_own(shop: Shop) -> None:
    opening = await shop.opened()
    for _ in range(2):
        assert (await shop.use(opening, content=b"a")).status_code == 200
    assert (await shop.view(opening)).spent == 2 * PRICE


async def test_a_stored_answer_is_given_also_when_the_session_is_depleted_expired_or_closed(shop: Shop) -> None:
    """What was paid for is delivered: the look-up comes before balance and state."""
    opening = await shop.opened(deposit=10 * PRICE)
    first = await shop.use(opening, key="k", content=b"a")
    for _ in range(9):
        await shop.use(opening)
    assert (await shop.use(opening, key="k", content=b"a")).text == first.text
    await shop.send(opening.close())
    again = await shop.use(opening, key="k", content=b"a")
    assert (again.status_code, again.text) == (200, first.text)


async def test_a_repetition_while_the_first_runs_waits_and_gets_its_answer(shop: Shop) -> None:
    slow = Slow()
    shop.upstream.app = slow
    opening = await shop.opened()
    first = asyncio.ensure_future(shop.use(opening, key="k"))
    await slow.asked()
    again = asyncio.ensure_future(shop.use(opening, key="k"))
    await asyncio.sleep(0.05)
    assert not again.done()
    slow.go.set()
    one, two = await asyncio.gather(first, again)
    assert (one.text, two.text, slow.calls) == ("at last", "at last", 1)
    assert two.headers["idempotent-replayed"] == "true"
    assert (await shop.view(opening)).spent == PRICE


@pytest.mark.row(
    "F12", attack="the client disconnects while its request runs", twin="the retry with its key gets the answer"
)
async def test_a_client_that_leaves_is_charged_and_its_answer_kept(shop: Shop) -> None:
    """F12: it may have done its work; the retry with the same key gets it."""
    slow = Slow()
    shop.upstream.app = slow
    opening = await shop.opened()
    leaving = asyncio.ensure_future(shop.use(opening, key="k"))
    await slow.asked()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    slow.go.set()
    again = await shop.use(opening, key="k")
    assert (again.status_code, again.text, slow.calls) == (200, "at last", 1)
    assert (await shop.view(opening)).spent == PRICE


async def test_a_client_that_leaves_before_its_request_is_complete_costs_nothing(shop: Shop) -> None:
    opening = await shop.opened()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/paid/x",
        "raw_path": b"/paid/x",
        "query_string": b"",
        "headers": [(b"authorization", opening.use().encode())],
    }
    await shop.app(scope, receive, send)
    assert sent == []
    assert shop.upstream.asked == []
    assert (await shop.view(opening)).spent == 0


@pytest.mark.parametrize(
    ("status", "body", "charged", "term"),
    [
        (200, b"x", True, None),
        (302, b"x", True, None),
        (404, b"", True, None),
        (429, b"x", True, None),
        (304, b"", True, None),
        (200, b"", False, "min_body_bytes"),
        (500, b"x", False, "accepted_statuses"),
        (503, b"", False, "accepted_statuses"),
    ],
)
async def test_an_answer_that_breaks_the_sla_is_given_but_not_charged(
    shop: Shop, status: int, body: bytes, charged: object, term: str | None
) -> None:
    """F31: what an agent can bring about itself (4xx, 304) is no breach."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, body, status)

    shop.upstream.app = app
    opening = await shop.opened()
    answer = await shop.use(opening, key="k")
    assert (answer.status_code, answer.content) == (status, body)
    said = metered(answer)
    assert (said.charged, said.term, said.amount) == (charged, term, PRICE if charged else 0)
    assert (await shop.view(opening)).spent == said.amount
    assert (await shop.use(opening, key="k")).headers["idempotent-replayed"] == "true"


@pytest.mark.row("F12", attack="an answer later than the SLA says", twin="uncharged, and one in time charged")
async def test_an_answer_that_is_too_slow_is_given_but_not_charged(shop: Shop) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        shop.chain.advance(seconds=2.4)
        await reply(send, b"slow")

    shop.upstream.app = app
    opening = await shop.opened()
    answer = await shop.use(opening)
    assert answer.text == "slow"
    assert (metered(answer).charged, metered(answer).term) == (False, "max_latency_ms")
    assert metered(answer).latency_ms > 2000


@pytest.mark.row("F31", attack="HEAD to break the minimum body", twin="charged")
async def test_a_head_request_needs_no_body_to_be_charged(shop: Shop) -> None:
    """F31."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"", 200, (b"content-length", b"123"))

    shop.upstream.app = app
    answer = await shop.use(await shop.opened(), method="HEAD", content=None)
    assert metered(answer).charged
    assert answer.headers["content-length"] == "123"


@pytest.mark.row("F12", attack="the handler raises", twin="the next request is served")
async def test_an_app_that_raises_is_a_502_and_free(shop: Shop) -> None:
    """F12."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("boom")

    shop.upstream.app = app
    opening = await shop.opened()
    answer = await shop.use(opening)
    assert answer.status_code == 502
    assert parse_problem(answer.content).type == ProblemType.UPSTREAM_UNAVAILABLE
    assert (metered(answer).charged, metered(answer).term) == (False, "accepted_statuses")
    assert (await shop.view(opening)).spent == 0


async def test_an_answer_too_large_to_pass_on_is_a_502_and_free(shop: Shop) -> None:
    """F21."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"x" * 5001)

    shop.upstream.app = app
    answer = await shop.use(await shop.opened())
    assert (answer.status_code, metered(answer).charged) == (502, False)


async def test_an_answer_too_large_to_keep_is_given_once_and_its_replay_is_the_receipt(shop: Shop) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"x" * 501)

    shop.upstream.app = app
    opening = await shop.opened()
    first = await shop.use(opening, key="k")
    again = await shop.use(opening, key="k")
    assert (first.status_code, len(first.content), metered(first).charged) == (200, 501, True)
    assert (again.status_code, again.content) == (204, b"")
    assert again.headers["idempotent-replayed"] == "receipt-only"
    assert again.headers["payment-receipt"] == first.headers["payment-receipt"]


@pytest.mark.row("F31", attack="breaches farmed over HTTP", twin="capped, then refused")
async def test_free_answers_are_capped_so_that_breaches_cannot_be_farmed(shop: Shop) -> None:
    """F31."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"", 500)

    opening = await shop.opened()
    shop.upstream.app = app
    for _ in range(100):
        assert (await shop.use(opening)).status_code == 500
    answer = await shop.use(opening)
    assert problem(answer).type == ProblemType.FREE_ANSWERS_EXHAUSTED
    assert (await shop.view(opening)).spent == 0
    assert (await shop.send(opening.close())).json()["refund"] == str(DEPOSIT)


async def test_the_upstreams_headers_reach_the_client_except_those_that_are_ours(shop: Shop) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/x"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"payment-receipt", b"forged"),
            (b"cache-control", b"public"),
        ]
        await reply(send, b"x", 200, *headers)

    shop.upstream.app = app
    answer = await shop.use(await shop.opened(), key="k")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["content-type"] == "text/x"
    assert metered(answer).charged


async def test_the_usage_log_hashes_to_what_the_last_receipt_names(shop: Shop) -> None:
    opening = await shop.opened()
    for number in range(3):
        last = await shop.use(opening, content=b"%d" % number)
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    assert record.usage_root.hex() == metered(last).usage_hash


async def test_two_sessions_do_not_touch_each_other(shop: Shop) -> None:
    mine = await shop.opened()
    shop.chain.advance(seconds=3)
    yours = await shop.opened()
    await asyncio.gather(*(shop.use(opening) for opening in (mine, yours, mine, yours, mine)))
    assert ((await shop.view(mine)).spent, (await shop.view(yours)).spent) == (3 * PRICE, 2 * PRICE)
