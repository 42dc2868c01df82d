"""Every other bad input: its own problem, a fresh challenge, nothing charged, and the upstream never hears of it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from starlette.types import Message

from retainer.chain.fake import FakeChain
from retainer.protocol.actions import UseAction, VoucherAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import sign_proof
from retainer.protocol.challenges import parse_challenge_headers
from retainer.protocol.constants import MAX_CREDENTIAL_BYTES
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.problems import ProblemType
from retainer.protocol.vouchers import Voucher, sign_voucher
from tests.integration.conftest import AGENT, Shop, opened_shop, problem, raw_request
from tests.shop import DEPOSIT, PRICE, Opening

STRANGER = Keypair.from_seed(b"s" * 32)


def told(header: str) -> dict[str, Any]:
    """The JSON inside a credential."""
    text = header.partition(" ")[2]
    message: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return message


def credential(message: object) -> str:
    """Any JSON as a credential."""
    return "Payment " + base64.urlsafe_b64encode(json.dumps(message).encode()).rstrip(b"=").decode()


async def uncharged(shop: Shop, opening: Opening) -> None:
    """Nothing was charged or asked, and the next honest request is served."""
    assert shop.upstream.asked == []
    view = await shop.view(opening)
    assert (view.spent, view.requests_made) == (0, 0)
    assert (await shop.use(opening)).status_code == 200


@pytest.mark.row("F22", attack="a 402 kept by a cache", twin="no-store, and a fresh challenge each")
async def test_without_a_credential_the_price_is_named_with_a_challenge(shop: Shop) -> None:
    answer = await shop.http.get("/paid/x")
    assert problem(answer).type == ProblemType.PAYMENT_REQUIRED
    assert "0.008" in problem(answer).detail
    assert "1.0" in problem(answer).detail
    [challenge] = parse_challenge_headers([answer.headers["www-authenticate"]])
    request = challenge.session_request()
    assert (request.amount, request.suggested_deposit) == (PRICE, DEPOSIT)
    basic = await shop.http.get("/paid/x", headers={"Authorization": "Basic YTpi"})
    assert problem(basic).type == ProblemType.PAYMENT_REQUIRED


@pytest.mark.parametrize(
    "header",
    [
        "Payment",
        "Payment ",
        "Payment !!!",
        "Payment e30",
        "Payment " + "A" * MAX_CREDENTIAL_BYTES,
        credential([]),
        credential({"challenge": {}, "payload": {}}),
        credential({"challenge": 1}),
        "Payment " + base64.urlsafe_b64encode(b'{"challenge":{},"challenge":{}}').rstrip(b"=").decode(),
        "Payment " + base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode(),
    ],
)
@pytest.mark.row(
    "F17", attack="truncated, mis-encoded, doubled or deeply nested credentials", twin="a challenge to start afresh"
)
async def test_a_malformed_credential_is_called_so(shop: Shop, header: str) -> None:
    """F17."""
    answer = await shop.send(header)
    assert problem(answer).type == ProblemType.MALFORMED_CREDENTIAL
    assert answer.status_code == 402
    assert parse_challenge_headers([answer.headers["www-authenticate"]])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message["payload"].pop("channelId"),
        lambda message: message["payload"].update(channelId="0OIl"),
        lambda message: message["payload"].update(action="steal"),
        lambda message: message["payload"]["authentication"].update(signature="abc"),
        lambda message: message["payload"]["authentication"].update(type="password"),
        lambda message: message["challenge"].pop("id"),
        lambda message: message["challenge"].update(method="tempo"),
        lambda message: message.update(payload=None),
    ],
)
async def test_a_credential_with_a_bad_field_is_refused_by_name(shop: Shop, spoil: Callable[[Any], object]) -> None:
    opening = await shop.opened()
    message = told(opening.use())
    spoil(message)
    assert problem(await shop.send(credential(message))).type == ProblemType.MALFORMED_CREDENTIAL
    await uncharged(shop, opening)


async def test_an_open_with_a_bump_is_malformed(shop: Shop) -> None:
    """The draft: silently ignoring it could hide a wrong derivation."""
    message = told(shop.agent.open(await shop.challenge()).header)
    message["payload"]["bump"] = 255
    assert problem(await shop.send(credential(message))).type == ProblemType.MALFORMED_CREDENTIAL


@pytest.mark.parametrize("part", ["id", "realm", "request", "expires"])
@pytest.mark.row("F17", attack="a challenge with another id, realm, request or expiry", twin="the issued one is served")
async def test_a_forged_challenge_is_invalid(shop: Shop, part: str) -> None:
    """F17."""
    opening = await shop.opened()
    message = told(opening.use())
    changed = {
        "id": "A" * 43,
        "realm": "other.test",
        "request": message["challenge"]["request"][:-4] + "AAAA",
        "expires": "2099-01-01T00:00:00Z",
    }
    message["challenge"][part] = changed[part]
    assert problem(await shop.send(credential(message))).type == ProblemType.INVALID_CHALLENGE
    await uncharged(shop, opening)


async def test_an_expired_challenge_opens_nothing_but_serves_what_it_opened(shop: Shop) -> None:
    late = shop.agent.open(await shop.challenge())
    opening = await shop.opened()
    shop.chain.advance(seconds=301)
    await shop.pace.tick()
    answer = await shop.send(late.header)
    assert problem(answer).type == ProblemType.CHALLENGE_EXPIRED
    assert await shop.ledger.session(str(late.action.channel_id)) is None
    assert (await shop.use(opening)).status_code == 200


async def test_an_unknown_session_is_called_so(shop: Shop) -> None:
    unopened = shop.agent.open(await shop.challenge())
    for header in (unopened.use(), unopened.close()):
        answer = await shop.send(header)
        assert problem(answer).type == ProblemType.SESSION_UNKNOWN
        assert answer.status_code == 402
        assert parse_challenge_headers([answer.headers["www-authenticate"]])


@pytest.mark.parametrize("path", ["/paid/x", "/api/sessions/{id}"])
@pytest.mark.row(
    "F17", attack="another's proof, one for another session, none, a garbled one", twin="the payer's own is served"
)
async def test_a_session_serves_and_is_shown_to_its_payer_alone(shop: Shop, path: str) -> None:
    """F17: neither another's proof, nor one's own for another session, nor none."""
    opening = await shop.opened()
    shop.chain.advance(seconds=3)
    other = await shop.opened()
    session = opening.action.channel_id
    path = path.format(id=session)
    stolen = UseAction(session, sign_proof(opening.challenge.id, session, STRANGER))
    mixed = UseAction(session, other.proof)
    garbled = UseAction(session, replace(opening.proof, signature=Signature.default()))
    for action in (stolen, mixed, garbled):
        header = authorization_header(Credential(opening.challenge, action))
        assert problem(await shop.send(header, path=path)).type == ProblemType.VERIFICATION_FAILED
    moved = UseAction(session, sign_proof(other.challenge.id, session, AGENT))
    header = authorization_header(Credential(other.challenge, moved))
    assert problem(await shop.send(header, path=path)).type == ProblemType.VERIFICATION_FAILED
    await uncharged(shop, opening)


async def test_the_api_shows_no_session_without_its_credential(shop: Shop) -> None:
    opening = await shop.opened()
    shop.chain.advance(seconds=3)
    other = await shop.opened()
    path = f"/api/sessions/{opening.action.channel_id}"
    assert problem(await shop.http.get(path)).type == ProblemType.VERIFICATION_FAILED
    for header in (other.use(), opening.close()):
        assert problem(await shop.send(header, path=path)).type == ProblemType.VERIFICATION_FAILED


async def test_vouchers_are_refused_kindly(shop: Shop) -> None:
    opening = await shop.opened()
    session = opening.action.channel_id
    voucher = VoucherAction(session, sign_voucher(Voucher(session, BaseUnits(PRICE)), AGENT))
    answer = await shop.send(authorization_header(Credential(opening.challenge, voucher)))
    assert problem(answer).type == ProblemType.VERIFICATION_FAILED
    assert "metered by its operator" in problem(answer).detail
    await uncharged(shop, opening)


@pytest.mark.row("F21", attack="a body too large by its length, or endless", twin="the largest allowed is served")
async def test_a_body_that_is_too_large_is_refused_and_costs_nothing(shop: Shop) -> None:
    """F21: by its declared length, and by what really comes."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    opening = await shop.opened()
    for content in (b"x" * 1001, endless()):
        answer = await shop.use(opening, content=content)
        assert problem(answer).type == ProblemType.BODY_TOO_LARGE
        assert answer.status_code == 413
    await uncharged(shop, opening)
    assert (await shop.use(opening, content=b"x" * 1000)).status_code == 200


@pytest.mark.row("F21", attack="a body that drips for ever", twin="an ordinary one is served")
async def test_a_body_that_never_ends_is_given_up_and_costs_nothing(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F21: whoever drips holds a connection, and no money or memory beyond the limit."""
    raw_settings["limits"]["request_body_seconds"] = 1

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.05)

    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        answer = await shop.use(opening, content=dripping())
        assert (problem(answer).type, answer.status_code) == (ProblemType.BODY_TOO_SLOW, 408)
        await uncharged(shop, opening)


@pytest.mark.row("F21", attack="a stranger's upload", twin="refused before a byte of it is read")
async def test_the_body_of_a_stranger_is_not_even_read(shop: Shop) -> None:
    """F21: cheap checks first."""
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"x"

    unopened = shop.agent.open(await shop.challenge())
    assert problem(await shop.use(unopened, content=body())).type == ProblemType.SESSION_UNKNOWN
    assert read == []


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256, "tab\t1"])
async def test_a_bad_idempotency_key_is_refused(shop: Shop, key: str) -> None:
    opening = await shop.opened()
    headers = {b"Authorization": opening.use().encode(), b"Idempotency-Key": key.encode()}
    answer = await shop.http.post("/paid/x", headers=headers)
    assert problem(answer).type == ProblemType.REQUEST_MALFORMED
    await uncharged(shop, opening)


@pytest.mark.parametrize("name", ["Authorization", "Idempotency-Key"])
@pytest.mark.row("F19", attack="a doubled Authorization or Idempotency-Key", twin="one of each is served")
async def test_a_doubled_header_is_refused(shop: Shop, name: str) -> None:
    """F19: two readers could read two different ones."""
    opening = await shop.opened()
    headers = [("Authorization", opening.use()), ("Idempotency-Key", "a"), (name, opening.use())]
    answer = await shop.http.post("/paid/x", headers=headers)
    assert problem(answer).type == ProblemType.REQUEST_MALFORMED
    assert answer.status_code == 400
    await uncharged(shop, opening)


@pytest.mark.parametrize("path", [b"/paid/../free", b"/paid/%2e%2e/free", b"/free/../paid/x", b"/free%2f..%2fpaid"])
@pytest.mark.row("F19", attack="dot segments and escapes in the path", twin="the plain path is served")
async def test_a_path_with_two_readings_is_not_served(shop: Shop, path: bytes) -> None:
    """F19. No HTTP client sends such a path by itself."""
    opening = await shop.opened()
    status = await raw_request(shop.app, path, opening.use())
    assert status in (400, 404)
    await uncharged(shop, opening)


async def test_a_depleted_session_is_refused_and_costs_nothing(shop: Shop) -> None:
    """125 requests drain exactly 1.0 at 0.008; the 126th is refused."""
    opening = await shop.opened()
    for _ in range(125):
        assert (await shop.use(opening)).status_code == 200
    answer = await shop.use(opening)
    assert problem(answer).type == ProblemType.SESSION_DEPLETED
    assert problem(answer).extra["sessionId"] == str(opening.action.channel_id)
    assert len(shop.upstream.asked) == 125
    view = await shop.view(opening)
    assert (view.state, view.remaining, view.requests_left) == ("depleted", 0, 0)
    closed = await shop.send(opening.close())
    assert (closed.status_code, closed.json()["refund"]) == (200, "0")


@pytest.mark.row("F09", attack="40 requests at once, balance for 10", twin="10 are served")
async def test_racing_requests_never_spend_more_than_the_deposit(shop: Shop) -> None:
    """F09: 40 at once, balance for 10."""
    opening = await shop.opened(deposit=10 * PRICE)
    answers = await asyncio.gather(*(shop.use(opening, content=b"%d" % number) for number in range(40)))
    served = [answer for answer in answers if answer.status_code == 200]
    assert len(served) == len(shop.upstream.asked) == 10
    assert {problem(answer).type for answer in answers if answer not in served} == {ProblemType.SESSION_DEPLETED}


async def test_an_expired_session_is_refused_and_can_still_be_closed(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    raw_settings["offers"]["standard"]["duration"] = 60
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        shop.chain.advance(seconds=59)
        assert (await shop.use(opening)).status_code == 200
        shop.chain.advance(seconds=1)
        assert problem(await shop.use(opening)).type == ProblemType.SESSION_EXPIRED
        assert (await shop.view(opening)).state == "expired"
        assert len(shop.upstream.asked) == 1
        assert (await shop.send(opening.close())).json()["spent"] == str(PRICE)


async def test_a_closing_and_a_closed_session_are_refused(shop: Shop) -> None:
    opening = await shop.opened()
    session_id = str(opening.action.channel_id)
    await shop.ledger.begin_close(session_id, "a test", shop.clock.now())
    assert problem(await shop.use(opening)).type == ProblemType.SESSION_CLOSING
    assert problem(await shop.send(opening.header)).type == ProblemType.SESSION_CLOSING
    assert (await shop.send(opening.close())).status_code == 200
    assert problem(await shop.use(opening)).type == ProblemType.SESSION_CLOSED
    assert shop.upstream.asked == []


@pytest.mark.row("F20", attack="opened for the cheap path, used on the dear one", twin="served on its own path")
async def test_a_session_of_another_offer_is_not_accepted(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F20: opened for the cheap one, used on the dear one."""
    offers = raw_settings["offers"]
    offers["dear"] = {**offers["standard"], "price": "0.08", "routes": ["/dear/*"]}
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        answer = await shop.use(opening, "/dear/x")
        assert problem(answer).type == ProblemType.VERIFICATION_FAILED
        [challenge] = parse_challenge_headers([answer.headers["www-authenticate"]])
        assert challenge.session_request().amount == 10 * PRICE
        await uncharged(shop, opening)


async def test_websockets_are_refused(shop: Shop) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/free", "raw_path": b"/free", "headers": []}
    await shop.app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=200), st.sampled_from(["", "Payment "]))
@pytest.mark.row("F17", attack="any Authorization header at all", twin="a challenge to start afresh")
async def test_no_authorization_header_whatsoever_gets_past_the_gate(shop: Shop, text: str, scheme: str) -> None:
    """F17."""
    answer = await shop.http.get("/paid/x", headers={"Authorization": scheme + text})
    assert problem(answer).type in (ProblemType.PAYMENT_REQUIRED, ProblemType.MALFORMED_CREDENTIAL)
    assert shop.upstream.asked == []
