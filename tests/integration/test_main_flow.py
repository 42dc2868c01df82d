"""The main job in one process: 1.0 deposited, 30 requests at 0.008, 0.76 back in the transaction that pays 0.24."""

from solders.signature import Signature

from retainer.chain.testing import token_balance
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.session import SessionState
from retainer_provider.people.routes import PATHS
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, receipt
from tests.shop import DEPOSIT, PRICE


async def test_a_session_is_opened_used_thirty_times_and_closed(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    opened = await shop.send(opening.header)
    assert opened.status_code == 200
    assert opened.json()["state"] == "active"
    assert receipt(opened).spent == 0
    assert shop.upstream.asked == []

    for number in range(1, 31):
        answer = await shop.use(opening, content=b"question %d" % number)
        assert (answer.status_code, answer.text) == (200, f"echo:question {number}")
        said = receipt(answer)
        assert said.retainer is not None
        assert said.retainer.metered is not None
        assert (said.spent, said.retainer.remaining) == (number * PRICE, DEPOSIT - number * PRICE)
        assert (said.retainer.metered.sequence, said.retainer.metered.charged) == (number, True)

    closed = await shop.send(opening.close())
    assert closed.status_code == 200, closed.text
    said = receipt(closed)
    assert (said.spent, said.refunded) == (240_000, 760_000)
    assert closed.json()["state"] == "refunded"
    assert closed.json()["refundDisplay"] == "0.76"
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - 240_000
    assert await token_balance(shop.chain, OPERATOR.pubkey(), shop.mint) == TOKENS + 240_000
    assert await shop.chain.account(opening.action.channel_id) is None
    assert said.tx_hash is not None
    landed = await shop.chain.transaction(said.tx_hash)
    assert landed is not None
    assert landed.error is None


async def test_the_receipt_names_the_digests_of_what_was_said(shop: Shop) -> None:
    opening = await shop.opened()
    answer = await shop.use(opening, "/paid/a%20b?x=1&y=%2F", content=b"question")
    said = receipt(answer).retainer
    assert said is not None
    assert said.metered is not None
    assert said.metered.request_digest == request_digest("POST", "/paid/a%20b?x=1&y=%2F", b"question").hex()
    assert said.metered.response_digest == body_digest(b"echo:question").hex()


async def test_the_upstream_sees_key_and_session_but_no_credential(shop: Shop) -> None:
    opening = await shop.opened()
    await shop.use(opening, key="key-1", content=b"x")
    assert shop.upstream.header("idempotency-key") == "key-1"
    assert shop.upstream.header("x-retainer-session") == str(opening.action.channel_id)
    assert shop.upstream.header("authorization") is None
    assert shop.upstream.header("content-length") == "1"


async def test_a_deposit_that_the_agent_sent_itself_opens_by_its_signature(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    assert opening.action.transaction is not None
    signature = await shop.chain.send(opening.action.transaction)
    opened = await shop.send(opening.self_sent(Signature.from_string(signature)).header)
    assert opened.status_code == 200, opened.text
    assert opened.json()["creationSignature"] == signature
    assert (await shop.use(opening)).status_code == 200


async def test_a_stock_opening_without_terms_is_served_and_settled_as_well(shop: Shop) -> None:
    opening = await shop.opened(stock=True)
    assert (await shop.use(opening)).status_code == 200
    closed = await shop.send(opening.close())
    assert (closed.status_code, receipt(closed).refunded) == (200, DEPOSIT - PRICE)


async def test_opening_again_with_the_same_credential_finds_the_same_session(shop: Shop) -> None:
    """A client that lost the answer repeats it, also after the challenge has expired."""
    opening = await shop.opened()
    await shop.use(opening)
    shop.chain.advance(seconds=400)
    again = await shop.send(opening.header)
    assert again.status_code == 200
    assert receipt(again).spent == PRICE
    assert shop.chain.sent.count(again.json()["creationSignature"]) == 1


async def test_closing_again_answers_the_same(shop: Shop) -> None:
    opening = await shop.opened()
    first, again = await shop.send(opening.close()), await shop.send(opening.close())
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert receipt(first).tx_hash == receipt(again).tx_hash


async def test_a_session_is_shown_to_its_payer_for_nothing(shop: Shop) -> None:
    opening = await shop.opened()
    await shop.use(opening)
    view = await shop.view(opening)
    assert (view.state, view.spent, view.remaining) == (SessionState.ACTIVE, PRICE, DEPOSIT - PRICE)
    assert (view.requests_made, view.requests_left) == (1, 124)
    assert view.agent == AGENT.pubkey()
    await shop.send(opening.close())
    closed = await shop.view(opening)
    assert (closed.state, closed.refund, closed.remaining) == (SessionState.REFUNDED, DEPOSIT - PRICE, 0)


async def test_offers_health_and_description_are_for_everybody(shop: Shop) -> None:
    offers = (await shop.http.get("/api/offers")).json()["offers"]
    assert [(offer["offerId"], offer["price"], offer["priceDisplay"]) for offer in offers] == [
        ("standard", "8000", "0.008")
    ]
    health = await shop.http.get("/api/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    described = (await shop.http.get("/api/openapi.json")).json()
    told = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    pages = {("GET", f"/api/{page}") for page in ("health", "healthz", "readyz", "openapi.json", "sessions/{id}")}
    # A session is described once for both credentials; the rest of Solana Pay is no page's business.
    silent = {"session", "icon", "pay_options"}
    assert told == pages | {(method, f"/api{path}") for method, path, name in PATHS if name not in silent}


async def test_free_paths_pass_and_unknown_ones_do_not(shop: Shop) -> None:
    answer = await shop.http.get("/free", headers={"X-Retainer-Session": "forged"})
    assert (answer.status_code, answer.text) == (200, "echo:")
    assert shop.upstream.header("x-retainer-session") is None
    assert (await shop.http.get("/other")).status_code == 404
    assert len(shop.upstream.asked) == 1


async def test_head_is_metered_and_answered_without_a_body(shop: Shop) -> None:
    opening = await shop.opened()
    answer = await shop.use(opening, method="HEAD", content=None)
    assert (answer.status_code, answer.content) == (200, b"")
    assert receipt(answer).spent == PRICE
    unpaid = await shop.http.head("/paid/x")
    assert (unpaid.status_code, unpaid.content) == (402, b"")
    assert "www-authenticate" in unpaid.headers


async def test_prices_can_be_discovered(shop: Shop) -> None:
    document = (await shop.http.get("/openapi.json")).json()
    assert document["info"]["title"] == "shop.test"
    for method in ("get", "post"):
        priced = document["paths"]["/paid/{path}"][method]
        assert priced["x-payment-info"]["offers"] == [
            {
                "intent": "session",
                "method": "solana",
                "amount": str(PRICE),
                "currency": str(shop.mint),
                "description": f"0.008 {shop.mint} a request, from a session",
            }
        ]
        assert "402" in priced["responses"]
