"""People in browsers on the fake chain: an invoice funds a session, a token asks, and the wallet gets the rest back."""

import asyncio
import base64
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from retainer.chain.errors import TransactionRefusedError
from retainer.chain.testing import mint_to
from retainer.protocol.amounts import format_amount
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import parse_receipt, verify_receipt
from tests.integration.conftest import AGENT, OPERATOR, Shop, problem
from tests.people import Page
from tests.shop import DEPOSIT, MINIMUM, PRICE, Agent


@pytest.fixture
def page(shop: Shop) -> Page:
    return Page(shop.http, AGENT)


async def send(shop: Shop, page: Page, invoice: dict[str, Any]) -> None:
    """The wallet signs and sends it itself."""
    await shop.chain.send(page.sign(invoice["transaction"]))


async def look(shop: Shop, page: Page, invoice: dict[str, Any]) -> dict[str, Any]:
    await shop.chain.sleep(1)
    return await page.ok("GET", f"/invoices/{invoice['invoiceId']}")


async def test_a_page_is_told_what_it_buys(shop: Shop, page: Page) -> None:
    told = await page.ok("GET", "/offers")
    [offer] = told["offers"]
    assert (offer["people"], offer["sponsored"], offer["price"]) == (True, False, str(PRICE))
    assert [(preset["amount"], preset["requests"], preset["worstLoss"]) for preset in offer["presets"]] == [
        ("500000", "62", "500000"),
        ("1000000", "125", "1000000"),
        ("5000000", "625", "5000000"),
    ]
    assert told["genesisHash"] == await shop.chain.genesis_hash()
    assert told["people"]["solanaPay"] is False
    assert "HTTPS" in told["people"]["solanaPayReason"]


async def test_fund_ask_close(shop: Shop, page: Page) -> None:
    """To the base unit: what was asked is settled, the rest is back with the wallet."""
    session = await page.funded(DEPOSIT)
    for number in range(3):
        answer = await page.ask(session, f"question {number}")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["response"]["body"] == f"echo:question {number}"
        assert (told["charge"]["kind"], told["charge"]["amount"]) == ("charged", str(PRICE))
        assert told["session"]["remaining"] == str(DEPOSIT - (number + 1) * PRICE)
        assert verify_receipt(parse_receipt(told["receipt"]), OPERATOR.pubkey())
    preview = await page.ok("GET", f"/sessions/{session}/close")
    assert (preview["toProvider"], preview["toPayer"]) == (str(3 * PRICE), str(DEPOSIT - 3 * PRICE))
    assert preview["payer"] == str(AGENT.pubkey())
    closed = await page.ok("POST", f"/sessions/{session}/close")
    assert (closed["state"], closed["settled"], closed["refund"]) == (
        "refunded",
        str(3 * PRICE),
        str(DEPOSIT - 3 * PRICE),
    )
    assert await shop.chain.transaction(closed["settlementSignature"]) is not None
    assert await page.ok("POST", f"/sessions/{session}/close") == closed


async def test_a_deposit_is_found_when_the_tab_was_closed(shop: Shop, page: Page) -> None:
    invoice = await page.fund()
    assert (invoice["state"], invoice["submit"]) == ("waiting", "wallet")
    await send(shop, page, invoice)
    await shop.chain.sleep(1)
    await shop.pace.tick()
    assert (await page.session(invoice["sessionId"]))["state"] == "active"
    assert (await page.ok("GET", f"/invoices/{invoice['invoiceId']}"))["signature"] is not None


async def test_a_late_deposit_is_found_as_well(shop: Shop, page: Page) -> None:
    invoice = await page.fund()
    raw = page.sign(invoice["transaction"])
    await shop.chain.send(raw)
    shop.clock.ahead += 3600
    assert (await look(shop, page, invoice))["state"] == "active"


async def test_an_invoice_is_paid_once(shop: Shop, page: Page) -> None:
    """Signed twice in two tabs, there is one address: the second transaction fails, its tokens stay."""
    invoice = await page.fund()
    await shop.chain.sleep(3)  # another blockhash, hence another transaction
    again = await look(shop, page, invoice)
    assert again["transaction"] != invoice["transaction"]
    await send(shop, page, invoice)
    assert (await look(shop, page, invoice))["state"] == "active"
    with pytest.raises(TransactionRefusedError):
        await shop.chain.send(page.sign(again["transaction"]))
    assert (await page.session(invoice["sessionId"]))["deposit"] == str(DEPOSIT)


async def test_an_invoice_that_nobody_pays_expires(shop: Shop, page: Page) -> None:
    invoice = await page.fund()
    shop.clock.ahead += 301
    over = await look(shop, page, invoice)
    assert (over["state"], over["transaction"]) == ("expired", None)
    signed = base64.b64encode(page.sign(invoice["transaction"])).decode()
    refused = await page.call("POST", f"/invoices/{invoice['invoiceId']}/transaction", {"transaction": signed})
    assert problem(refused).type is ProblemType.INVOICE_OVER


async def test_an_invoice_is_one_wallets(shop: Shop, page: Page) -> None:
    invoice = await page.ok("POST", "/sessions", {"offer": "standard", "amount": str(DEPOSIT)})
    assert (invoice["transaction"], invoice["sessionId"]) == (None, None)
    page.token = invoice["token"]
    named = await page.ok("POST", f"/invoices/{invoice['invoiceId']}/payer", {"payer": str(AGENT.pubkey())})
    assert named["transaction"] is not None
    other = str(Keypair().pubkey())
    refused = await page.call("POST", f"/invoices/{invoice['invoiceId']}/payer", {"payer": other})
    assert problem(refused).type is ProblemType.WALLET_MISMATCH


async def test_a_token_is_for_one_session(shop: Shop, page: Page, mint: Pubkey) -> None:
    session = await page.funded()
    stranger = Page(shop.http, Keypair.from_seed(b"s" * 32))
    shop.chain.fund(stranger.wallet.pubkey())
    authority = Keypair.from_seed(b"m" * 32)
    await mint_to(shop.chain, authority, owner=stranger.wallet.pubkey(), mint=mint, amount=DEPOSIT, clock=shop.chain)
    theirs = await stranger.funded()
    for method, path in (("GET", f"/sessions/{theirs}"), ("POST", f"/sessions/{theirs}/close")):
        refused = await page.call(method, path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    assert (await page.ask(theirs)).status_code == 401
    assert (await Page(shop.http, AGENT).ask(session)).status_code == 401
    assert (await page.call("DELETE", f"/sessions/{session}/token")).status_code == 204
    assert problem(await page.ask(session)).type is ProblemType.TOKEN_INVALID
    assert len(shop.upstream.asked) == 0


async def test_a_token_before_its_deposit_asks_nothing(shop: Shop, page: Page) -> None:
    invoice = await page.fund()
    assert problem(await page.ask(invoice["sessionId"])).type is ProblemType.TOKEN_INVALID
    assert shop.upstream.asked == []


async def test_a_top_up_rotates_the_token(shop: Shop, page: Page) -> None:
    session = await page.funded()
    invoice = await page.ok("POST", f"/sessions/{session}/topup", {"amount": str(MINIMUM)})
    newer = Page(shop.http, AGENT, invoice["token"])
    assert (await newer.ask(session)).status_code == 401
    paid = await page.post(invoice)
    assert (paid["state"], paid["received"]) == ("active", str(MINIMUM))
    assert (await page.session(session))["deposit"] == str(DEPOSIT + MINIMUM)
    assert (await newer.ask(session)).status_code == 200
    assert (await page.ask(session)).status_code == 401


async def test_a_wallet_sent_top_up_is_found(shop: Shop, page: Page) -> None:
    session = await page.funded()
    invoice = await page.ok("POST", f"/sessions/{session}/topup", {"amount": "1"})
    await send(shop, page, invoice)
    await shop.chain.sleep(20)  # so much is credited only when it is final
    await shop.pace.tick()
    assert (await look(shop, page, invoice))["state"] == "active"
    assert (await page.session(session))["deposit"] == str(DEPOSIT + 1)


async def test_a_look_finds_a_wallet_sent_top_up_before_any_pass_does(shop: Shop, page: Page) -> None:
    session = await page.funded()
    invoice = await page.ok("POST", f"/sessions/{session}/topup", {"amount": "1"})
    assert (await look(shop, page, invoice))["state"] == "waiting"
    await send(shop, page, invoice)
    assert (await look(shop, page, invoice))["state"] == "waiting"  # so much is credited only when it is final
    await shop.chain.sleep(20)
    found = await look(shop, page, invoice)
    assert (found["state"], found["received"]) == ("active", "1")
    assert (await page.session(session))["deposit"] == str(DEPOSIT + 1)


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        ((DEPOSIT - 1, 1_000_000_000), ["tokens"]),
        ((DEPOSIT, 1_000_000), ["sol"]),
        ((0, 0), ["tokens", "sol"]),
    ],
)
async def test_a_wallet_that_cannot_pay_is_told_what_it_lacks_and_not_named(
    shop: Shop, page: Page, mint: Pubkey, held: tuple[int, int], missing: list[str]
) -> None:
    poor, (tokens, lamports) = Keypair(), held
    if lamports:
        shop.chain.fund(poor.pubkey(), lamports)
    if tokens:
        authority = Keypair.from_seed(b"m" * 32)
        await mint_to(shop.chain, authority, owner=poor.pubkey(), mint=mint, amount=tokens, clock=shop.chain)
    invoice = await page.ok("POST", "/sessions", {"offer": "standard", "amount": str(DEPOSIT)})
    page.token = invoice["token"]
    naming = f"/invoices/{invoice['invoiceId']}/payer"
    short = problem(await page.call("POST", naming, {"payer": str(poor.pubkey())}))
    assert short.type is ProblemType.FUNDS_INSUFFICIENT
    told = short.extra
    assert (told["missing"], told["tokensHeld"], told["tokensNeeded"]) == (missing, str(tokens), str(DEPOSIT))
    assert (told["lamportsHeld"], told["lamportsHeldDisplay"]) == (str(lamports), format_amount(lamports, 9))
    assert 5_000_000 < int(str(told["lamportsNeeded"])) < 10_000_000
    named = await page.ok("POST", naming, {"payer": str(AGENT.pubkey())})
    assert named["payer"] == str(AGENT.pubkey())


async def test_a_key_charges_once(shop: Shop, page: Page) -> None:
    session = await page.funded()
    first, second = [(await page.ask(session, idempotency_key="k")).json() for _ in range(2)]
    assert (first["charge"]["replayed"], second["charge"]["replayed"]) == (False, True)
    assert first["response"] == second["response"]
    assert second["session"]["spent"] == str(PRICE)
    assert len(shop.upstream.asked) == 1
    conflict = await page.ask(session, "another question", idempotency_key="k")
    assert problem(conflict).type is ProblemType.IDEMPOTENCY_CONFLICT


async def test_two_tabs_never_spend_more_than_there_is(shop: Shop, page: Page) -> None:
    session = await page.funded(MINIMUM)
    answers = await asyncio.gather(*(page.ask(session, str(number)) for number in range(MINIMUM // PRICE + 5)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == MINIMUM // PRICE
    assert set(statuses) == {200, 402}
    assert (await page.session(session))["state"] == "depleted"


async def test_a_lost_token_is_replaced_by_the_paying_wallet_once(shop: Shop, page: Page) -> None:
    session = await page.funded()
    cleared = Page(shop.http, AGENT)
    asked = await cleared.ok("POST", f"/sessions/{session}/token/challenge")
    assert "moves nothing" in asked["text"]
    thief = Page(shop.http, Keypair.from_seed(b"t" * 32))
    assert (await thief.call("POST", f"/sessions/{session}/token", thief.sign_text(asked))).status_code == 401
    replaced = await cleared.ok("POST", f"/sessions/{session}/token", cleared.sign_text(asked))
    cleared.token = replaced["token"]
    assert (await cleared.ask(session)).status_code == 200
    assert (await page.ask(session)).status_code == 401
    assert (await thief.call("POST", f"/sessions/{session}/token", cleared.sign_text(asked))).status_code == 401
    late = await cleared.ok("POST", f"/sessions/{session}/token/challenge")
    shop.clock.ahead += 301
    assert (await cleared.call("POST", f"/sessions/{session}/token", cleared.sign_text(late))).status_code == 401


async def test_a_wallet_finds_its_sessions(shop: Shop, page: Page) -> None:
    session = await page.funded()
    cleared = Page(shop.http, AGENT)
    wallet = {"wallet": str(AGENT.pubkey())}
    asked = await cleared.ok("POST", "/recover/challenge", wallet)
    found = await cleared.ok("POST", "/recover", {**wallet, **cleared.sign_text(asked)})
    assert [shown["sessionId"] for shown in found["sessions"]] == [session]
    other = {"wallet": str(Keypair().pubkey())}
    assert (await cleared.call("POST", "/recover", {**other, **cleared.sign_text(asked)})).status_code == 401


@pytest.mark.parametrize(
    "headers", [{"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"origin": "https://evil.test"}]
)
async def test_another_sites_page_changes_nothing(shop: Shop, page: Page, headers: dict[str, str]) -> None:
    session = await page.funded()
    path = f"/api/sessions/{session}/close"
    sent = {
        "authorization": f"Bearer {page.token}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    refused = await shop.http.post(path, headers=sent)
    assert problem(refused).type is ProblemType.CROSS_SITE
    assert (await page.session(session))["state"] == "active"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"offer": "standard"},
        {"offer": "none", "amount": "1000000"},
        {"offer": "standard", "amount": 1_000_000},
        {"offer": "standard", "amount": "-1"},
        {"offer": "standard", "amount": "0"},
        {"offer": "standard", "amount": "1000000", "payer": "not a key"},
        {"offer": "standard", "amount": "1000000", "payer": str(OPERATOR.pubkey())},
        {"offer": "standard", "amount": "1"},
        {"offer": "standard", "amount": "18446744073709551615"},
    ],
)
async def test_a_bad_order_is_told_so(shop: Shop, page: Page, body: dict[str, Any]) -> None:
    refused = await page.call("POST", "/sessions", body)
    assert refused.status_code in {400, 402}
    problem(refused)


async def test_a_transaction_that_is_something_else_is_refused(shop: Shop, page: Page) -> None:
    invoice, other = await page.fund(), await Page(shop.http, AGENT).fund(2 * DEPOSIT)
    for raw in (b"", b"\x00" * 100, page.sign(other["transaction"])):
        sent = {"transaction": base64.b64encode(raw).decode()}
        refused = await page.call("POST", f"/invoices/{invoice['invoiceId']}/transaction", sent)
        assert refused.status_code in {400, 402}, refused.text
    assert (await look(shop, page, invoice))["state"] == "waiting"


async def test_solana_pay_needs_an_https_address(shop: Shop, page: Page) -> None:
    invoice = await page.fund()
    assert invoice["solanaPayUrl"] is None
    assert "HTTPS" in invoice["solanaPayReason"]


class TestPhone:
    """With a public address."""

    @pytest.fixture
    def raw_settings(self, raw_settings: dict[str, Any]) -> dict[str, Any]:
        raw_settings["panel"] = {"public_url": "https://shop.example"}
        return raw_settings

    async def test_a_phone_pays_an_invoice(self, shop: Shop, page: Page) -> None:
        """Solana Pay: the wallet asks who is asking, names its account, and signs what it gets."""
        invoice = await page.ok("POST", "/sessions", {"offer": "standard", "amount": str(DEPOSIT)})
        page.token = invoice["token"]
        assert invoice["solanaPayUrl"] == f"solana:https%3A%2F%2Fshop.example%2Fapi%2Fpay%2F{invoice['invoiceId']}"
        phone = shop.http
        path = f"/api/pay/{invoice['invoiceId']}"
        label = (await phone.get(path, headers={"origin": "https://wallet.example"})).json()
        assert label == {"label": "shop.test", "icon": "https://shop.example/api/pay/icon.svg"}
        assert (await phone.get("/api/pay/icon.svg")).headers["content-type"] == "image/svg+xml"
        asked = await phone.post(
            path, json={"account": str(AGENT.pubkey())}, headers={"origin": "https://wallet.example"}
        )
        assert asked.headers["access-control-allow-origin"] == "*"
        await shop.chain.send(page.sign(asked.json()["transaction"]))
        assert (await look(shop, page, invoice))["state"] == "active"
        assert "token" not in asked.json()


def lesser(shop: Shop, invoice: dict[str, Any], page: Page, amount: int) -> bytes:
    """What a wallet of the payer's own making deposits at the invoice's address: another amount."""
    transaction = Transaction.from_bytes(base64.b64decode(invoice["transaction"]))
    message = transaction.message
    [compiled] = message.instructions
    data = bytes(compiled.data)
    wanted = int(invoice["amount"]).to_bytes(8, "little")
    assert data.count(wanted) == 1
    writable = len(message.account_keys) - message.header.num_readonly_unsigned_accounts
    instruction = Instruction(
        message.account_keys[compiled.program_id_index],
        data.replace(wanted, amount.to_bytes(8, "little")),
        [
            AccountMeta(
                message.account_keys[index], message.is_signer(index), index < writable or message.is_signer(index)
            )
            for index in compiled.accounts
        ],
    )
    return Agent(page.wallet).sign([instruction], message.recent_blockhash)


@pytest.mark.parametrize(
    ("amount", "state"), [(MINIMUM - 1, "underpaid"), (MINIMUM, "active"), (DEPOSIT - 1, "active")]
)
async def test_another_amount_counts_if_the_offer_takes_it(shop: Shop, page: Page, amount: int, state: str) -> None:
    invoice = await page.fund(DEPOSIT)
    await shop.chain.send(lesser(shop, invoice, page, amount))
    found = await look(shop, page, invoice)
    assert (found["state"], found["received"]) == (state, str(amount))
    assert (await page.ask(invoice["sessionId"])).status_code == (200 if state == "active" else 401)
    assert (await look(shop, page, invoice))["state"] == state


async def test_what_a_fork_could_take_back_is_confirming(shop: Shop, page: Page) -> None:
    """F06: more than the offer credits before finality, the standing deposit by default."""
    invoice = await page.fund(DEPOSIT + 1)
    await send(shop, page, invoice)
    seen = await look(shop, page, invoice)
    assert (seen["state"], seen["transaction"]) == ("confirming", None)
    assert (await page.ask(invoice["sessionId"])).status_code == 401
    await shop.chain.sleep(20)
    assert (await look(shop, page, invoice))["state"] == "active"


async def test_a_node_that_is_away_decides_nothing(shop: Shop, page: Page) -> None:
    invoice = await page.fund()
    raw = page.sign(invoice["transaction"])
    await shop.chain.send(raw)
    shop.chain.down = True
    assert (await look(shop, page, invoice))["state"] == "waiting"
    shop.chain.down = False
    assert (await look(shop, page, invoice))["state"] == "active"
