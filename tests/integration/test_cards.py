"""Quick session cards through a whole service: real books, real charges, a responder that is scripted."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.encoding import canonical_json, encode_base64url
from retainer_provider.settings import SettingsError, settings_from
from tests.integration.conftest import AGENT, Upstream, opened_shop, problem
from tests.integration.conversing import Person, Responder, streamed
from tests.people import Page
from tests.shop import DEPOSIT, PRICE, table
from tests.times import until


@pytest.fixture
def responder() -> Responder:
    return Responder()


@pytest.fixture
def raw(mint: Pubkey) -> dict[str, Any]:
    given = table(mint)
    given["responders"] = {"ada": {"upstream": "/paid/chat", "offer": "standard"}}
    given["limits"]["response_body_bytes"] = 100_000
    return given


@pytest_asyncio.fixture
async def me(
    chain: FakeChain, raw: dict[str, Any], tmp_path: Path, mint: Pubkey, responder: Responder
) -> AsyncIterator[Person]:
    async with opened_shop(chain, mint, raw, tmp_path, Upstream(app=responder)) as shop:
        yield Person(shop, await shop.opened())


async def test_a_card_is_titled_and_answered_each_for_its_price(me: Person, responder: Responder) -> None:
    card = await me.card(message="why tides? 🌊")
    assert card["lines"] == 1
    thread = await me.settled(card["id"])
    assert [(line["line"], line["author"], line["body"]) for line in thread["thread"]] == [
        (1, "me", "why tides? 🌊"),
        (2, "ada", "answer to why tides? 🌊"),
    ]
    assert thread["titleSource"] == "responder"
    assert thread["title"].endswith("…")
    assert (thread["status"], thread["turns"], thread["amount"]) == ("active", 2, str(2 * PRICE))
    assert await me.spent() == 2 * PRICE
    kinds = [asked["retainer"]["kind"] for asked in responder.asked]
    assert kinds == ["title", "answer"]
    assert responder.asked[1]["retainer"]["resume"] == "r1"
    assert set(responder.keys.values()) == {1}


async def test_every_write_answers_with_the_shape_of_the_list(me: Person) -> None:
    card = await me.card(title="Tides")
    shapes = {frozenset(card)}
    for path, body in (
        (f"cards/{card['id']}/messages", {"author": "me", "body": "hello"}),
        (f"cards/{card['id']}/title", {"title": "High tides"}),
        (f"cards/{card['id']}/retry", None),
        ("responders/ada/ask", {"author": "me", "body": "from the bar"}),
        (f"cards/{card['id']}/archive", None),
    ):
        shapes.add(frozenset(await me.good("POST", path, body)))
    [listed] = (await me.good("GET", "cards?archived=true"))["cards"]
    assert shapes | {frozenset(listed)} == {frozenset(card)}
    assert (await me.good("GET", "cards"))["cards"] == []
    assert listed["title"] == "High tides"


async def test_the_main_thread_and_the_cards_wait_for_each_other(me: Person, responder: Responder) -> None:
    responder.gate = asyncio.Event()
    cards = [await me.card(title=f"card {number}") for number in range(3)]
    for number in range(3):
        await me.good("POST", "responders/ada/ask", {"author": "me", "body": f"bar {number}"})
        body = {"author": "me", "body": f"card {number}"}
        await me.good("POST", f"cards/{cards[number]['id']}/messages", body)
    responder.gate.set()
    for card in cards:
        await me.settled(card["id"])
    assert [asked["messages"][-1]["content"] for asked in responder.asked] == [
        "bar 0", "card 0", "bar 1", "card 1", "bar 2", "card 2"
    ]  # fmt: skip
    assert responder.most_at_once == 1
    assert {asked["retainer"]["scope"] for asked in responder.asked} == {"main", "card"}
    assert len((await me.good("GET", "cards"))["cards"]) == 3  # the main thread is no card


@pytest.mark.parametrize("status", [500, 404, 204])
async def test_what_is_no_answer_is_not_paid_and_can_be_tried_again(
    me: Person, responder: Responder, status: int
) -> None:
    responder.status = status
    card = await me.card(title="t", message="one")
    failed = await me.settled(card["id"])
    assert failed["status"] == "error"
    assert "Nothing was charged" in failed["lastError"]
    assert await me.spent() == 0
    responder.status = 200
    await me.good("POST", f"cards/{card['id']}/retry")
    again = await me.settled(card["id"])
    assert (again["status"], again["lastError"], again["lines"]) == ("active", None, 2)
    assert await me.spent() == PRICE


async def test_a_session_that_cannot_pay_blocks_its_cards(me: Person) -> None:
    card = await me.card(title="t")
    await me.shop.ledger.begin_close(card["sessionId"], "test", 1)
    await me.good("POST", f"cards/{card['id']}/messages", {"author": "me", "body": "hello"})
    found = await me.settled(card["id"])
    assert "being closed" in found["lastError"]
    events = (await me.good("GET", "cards/events?after=0"))["events"]
    assert "blocked" in {event["type"] for event in events}
    assert {event["scope"] for event in events} == {"card"}
    assert {event["ref"] for event in events} == {card["id"]}


async def test_an_answer_is_seen_as_it_comes(me: Person, responder: Responder) -> None:
    responder.pieces = ("The ", "moon ", "pulls.")
    card = await me.card(title="t", message="why?")
    found = await me.settled(card["id"])
    assert found["thread"][-1]["body"] == "The moon pulls."
    events = (await me.good("GET", "cards/events?after=0"))["events"]
    partial = [event["text"] for event in events if event["type"] == "thinking" and "text" in event]
    assert partial
    assert all("The moon pulls.".startswith(text) for text in partial)
    assert await me.spent() == PRICE


async def test_events_flow_and_resume(me: Person) -> None:
    card = await me.card(title="t")
    headers = {"authorization": me.opening.use(), "accept": "text/event-stream", "last-event-id": "1"}
    async with streamed(me.shop.app, "/api/cards/events", headers) as arrived:
        await me.good("POST", f"cards/{card['id']}/messages", {"author": "me", "body": "hello"})
        seen = await arrived(b"event: done")
    ids = [int(line[4:]) for line in seen.splitlines() if line.startswith(b"id: ")]
    assert ids == list(range(2, ids[-1] + 1))


async def test_a_repeated_request_writes_once(me: Person, responder: Responder) -> None:
    body = {"responder": "ada", "creator": "me", "title": "t", "message": "once"}
    first, second = [await me.good("POST", "cards", body, key="k") for _ in range(2)]
    assert first["id"] == second["id"]
    message = {"author": "me", "body": "twice?"}
    for _ in range(2):
        await me.good("POST", f"cards/{first['id']}/messages", message, key="m")
    other = await me.call("POST", f"cards/{first['id']}/messages", {**message, "body": "other"}, key="m")
    assert problem(other).status == 422
    for changes in ({"creator": "you"}, {"responder": "eve"}):
        again = await me.call("POST", "cards", {"responder": "ada", "creator": "me", **changes}, key="k")
        assert problem(again).status in {404, 422}
    found = await me.settled(first["id"])
    assert [line["body"] for line in found["thread"] if line["role"] == "person"] == ["once", "twice?"]
    assert await me.spent() == 2 * PRICE


async def test_references_show_what_they_refer_to_as_far_as_one_may_see_it(me: Person) -> None:
    told = await me.card(title="Tides", message="why tides?")
    foreign = "qs-01ARZ3NDEKTSV4RRFFQ69G5FAV"
    text = f"see session:{told['id']}:L1 and (session:{told['id']}), not session:{foreign}"
    card = await me.card(title="t", message=text)
    found = (await me.good("GET", f"cards/{card['id']}"))["thread"][0]["references"]
    assert [(one["card"], one["line"], one["preview"]) for one in found] == [
        (told["id"], 1, "why tides?"),
        (told["id"], None, "Tides"),
        (foreign, None, None),
    ]
    assert text[found[0]["start"] : found[0]["end"]] == f"session:{told['id']}:L1"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("cards", {"responder": "ada", "creator": " \n"}, "QUICK_SESSION_MESSAGE_INVALID"),
        ("cards", {"responder": "ada", "creator": "me", "title": "\u200b"}, "QUICK_SESSION_TITLE_INVALID"),
        ("cards", {"responder": "ada", "creator": "me", "title": "é" * 81}, "QUICK_SESSION_TITLE_INVALID"),
        ("cards", {"responder": "ada", "creator": "me", "message": ""}, "QUICK_SESSION_MESSAGE_INVALID"),
        ("cards", {"responder": "eve", "creator": "me"}, "RESPONDER_UNKNOWN"),
        ("cards", {"responder": "ada"}, None),
        ("cards", {"responder": "ada", "creator": "me", "else": 1}, None),
        ("cards/ID/messages", {"author": "", "body": "x"}, "QUICK_SESSION_MESSAGE_INVALID"),
        ("cards/ID/messages", {"author": "me", "body": " \t\n"}, "QUICK_SESSION_MESSAGE_INVALID"),
        ("cards/ID/messages", {"author": "me", "body": "a\u0000b"}, "QUICK_SESSION_MESSAGE_INVALID"),
        ("cards/ID/messages", {"author": "me", "body": "x" * 65_537}, "QUICK_SESSION_MESSAGE_INVALID"),
        ("cards/ID/messages", {"author": "you", "body": "x"}, "QUICK_SESSION_TITLE_REQUIRED"),
        ("cards/ID/title", {"title": ""}, "QUICK_SESSION_TITLE_INVALID"),
        ("cards/qs-01ARZ3NDEKTSV4RRFFQ69G5FAV/archive", None, "QUICK_SESSION_UNKNOWN"),
        ("cards/..%5c..%5cetc/archive", None, "QUICK_SESSION_ID_INVALID"),
        ("cards/..%2f..%2fetc/archive", None, None),
        ("cards/qs-01arz3ndektsv4rrffq69g5fav/archive", None, "QUICK_SESSION_ID_INVALID"),
        ("cards/ID/other", None, None),
    ],
)
async def test_what_cannot_be_is_refused_by_name(me: Person, path: str, body: Any, code: str | None) -> None:  # noqa: ANN401
    card = await me.card()
    answer = await me.call("POST", path.replace("ID", card["id"]), body)
    assert problem(answer).extra.get("code") == code
    assert (await me.good("GET", f"cards/{card['id']}"))["lines"] == 0


async def test_an_archived_card_refuses_writes(me: Person) -> None:
    card = await me.card(title="t")
    await me.good("POST", f"cards/{card['id']}/archive")
    for path, body in (("messages", {"author": "me", "body": "x"}), ("title", {"title": "x"}), ("retry", None)):
        answer = await me.call("POST", f"cards/{card['id']}/{path}", body)
        assert problem(answer).extra["code"] == "QUICK_SESSION_ARCHIVED"


async def test_cards_are_their_sessions_own(me: Person) -> None:
    card = await me.card(title="t", message="mine")
    stranger = Person(me.shop, await me.shop.opened())
    assert (await stranger.good("GET", "cards"))["cards"] == []
    answer = await stranger.call("GET", f"cards/{card['id']}")
    assert problem(answer).extra["code"] == "QUICK_SESSION_UNKNOWN"
    nobody = await me.shop.http.get("/api/cards")
    assert problem(nobody).status == 401


@pytest.mark.parametrize("path", ["cards/events?after={}", "cards/{card}?after={}"])
async def test_numbers_that_json_cannot_hold_are_refused(me: Person, path: str) -> None:
    card = await me.card(title="t")
    for number, status in (("9" * 15, 200), (str(2**53), 400), ("9" * 18, 400), ("-1", 400), ("1.0", 400)):
        answer = await me.call("GET", path.replace("{card}", card["id"]).format(number))
        assert answer.status_code == status, number


async def test_who_answers_is_told_with_whether_they_are_there(me: Person) -> None:
    async def hosted() -> bool:
        return bool((await me.good("GET", "responders"))["responders"][0]["status"] == "online")

    await until(hosted)
    told = {"name": "ada", "home": "", "node": "", "status": "online"}
    price = {"offer": "standard", "price": "8000", "byUse": False}
    assert (await me.good("GET", "responders"))["responders"] == [told | price]
    # Whoever has no session yet is told that there are cards, and what pays for them.
    assert (await me.good("GET", "offers"))["people"]["responders"] == [{"name": "ada", "offer": "standard"}]


async def test_a_service_that_stops_in_the_middle_goes_on_where_it_was(
    chain: FakeChain, raw: dict[str, Any], tmp_path: Path, mint: Pubkey, responder: Responder
) -> None:
    raw["limits"]["shutdown_seconds"] = 1
    responder.gate = asyncio.Event()
    async with opened_shop(chain, mint, raw, tmp_path, Upstream(app=responder)) as shop:
        me = Person(shop, await shop.opened())
        card = await me.card(title="t", message="one")
        await me.good("POST", f"cards/{card['id']}/messages", {"author": "me", "body": "two"})

        async def asked() -> bool:
            return bool(responder.asked)

        await until(asked)
    responder.gate.set()
    async with opened_shop(chain, mint, raw, tmp_path, Upstream(app=responder)) as shop:
        me = Person(shop, me.opening)
        found = await me.settled(card["id"])
        assert [line["body"] for line in found["thread"]] == ["one", "two", "answer to one", "answer to two"]
        assert await me.spent() == 2 * PRICE
    assert json.dumps(responder.asked[0]) == json.dumps(responder.asked[1])  # the same request, with the same key
    assert responder.fences == sorted(responder.fences)


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        ("Ada", {}, "a name is"),
        ("ada", {"offer": "other"}, r"no \[offers.other\]"),
        ("ada", {"upstream": "chat"}, "`upstream` is"),
        ("ada", {"upstream": "/paid/chat?x=1"}, "`upstream` is"),
    ],
)
def test_settings_that_cannot_be_hosted(mint: Pubkey, name: str, changes: dict[str, str], complaint: str) -> None:
    given = {**table(mint), "responders": {name: {"upstream": "/paid/chat", "offer": "standard", **changes}}}
    with pytest.raises(SettingsError, match=complaint):
        settings_from(given, {}, base=Path())


async def test_a_responder_whose_path_is_not_priced_is_refused_at_start(
    chain: FakeChain, raw: dict[str, Any], tmp_path: Path, mint: Pubkey
) -> None:
    raw["responders"]["ada"]["upstream"] = "/free"
    with pytest.raises(SettingsError, match="does not price it"):
        async with opened_shop(chain, mint, raw, tmp_path):
            raise AssertionError("it started")


async def test_a_page_with_a_session_token_has_cards_and_their_events(me: Person) -> None:
    page = Page(me.shop.http, AGENT)
    await page.funded(DEPOSIT)
    body = {"responder": "ada", "creator": "me", "title": "Tides", "message": "why?"}
    card = await page.ok("POST", "/cards", body)

    async def answered() -> bool:
        return bool((await page.ok("GET", f"/cards/{card['id']}"))["turns"])

    await until(answered)
    [listed] = (await page.ok("GET", "/cards"))["cards"]
    assert listed["amount"] == str(PRICE)
    assert (await me.good("GET", "cards"))["cards"] == []
    place = encode_base64url(canonical_json({"n": 0, "a": 0, "s": "", "i": {}}))
    headers = {"authorization": f"Bearer {page.token}", "last-event-id": place}
    async with streamed(me.shop.app, "/api/events", headers) as arrived:
        seen = await arrived(b"event: session")
    assert b"event: done" in seen
    assert b"event: request" in seen
