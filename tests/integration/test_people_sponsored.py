"""A sponsored session: the wallet signs first, and the sponsor only what was judged and simulated."""

import base64
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.chain.testing import mint_to
from retainer.protocol.problems import ProblemType
from retainer_provider.keys import keypair_text, write_private
from tests.integration.conftest import Shop, problem
from tests.people import Page
from tests.shop import DEPOSIT, MINIMUM

SPONSOR = Keypair.from_seed(b"f" * 32)
POOR = Keypair.from_seed(b"p" * 32)  # has tokens and no SOL


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any], chain: FakeChain, tmp_path: Path) -> dict[str, Any]:
    write_private(tmp_path / "sponsor.json", keypair_text(SPONSOR))
    raw_settings["service"]["sponsor_keypair"] = "sponsor.json"
    chain.fund(SPONSOR.pubkey())
    return raw_settings


@pytest.fixture
async def page(shop: Shop, mint: Pubkey) -> Page:
    authority = Keypair.from_seed(b"m" * 32)
    await mint_to(shop.chain, authority, owner=POOR.pubkey(), mint=mint, amount=2 * DEPOSIT, clock=shop.chain)
    return Page(shop.http, POOR)


async def test_a_wallet_without_sol_opens_tops_up_and_closes(shop: Shop, page: Page) -> None:
    invoice = await page.fund()
    assert invoice["submit"] == "post"
    assert (await page.post(invoice))["state"] == "active"
    topup = await page.ok("POST", f"/sessions/{invoice['sessionId']}/topup", {"amount": str(MINIMUM)})
    assert (await page.post(topup))["state"] == "active"
    closed = await page.ok("POST", f"/sessions/{invoice['sessionId']}/close")
    assert closed["refund"] == str(DEPOSIT + MINIMUM)


async def test_nothing_is_signed_ahead(shop: Shop, page: Page) -> None:
    """What a page is shown lacks the sponsor's signature: thrown away, it costs the sponsor nothing."""
    before = await shop.chain.account(SPONSOR.pubkey())
    invoice = await page.fund()
    shown = base64.b64decode(invoice["transaction"])
    assert shown[1:65] == shown[65:129] == bytes(64)
    assert await shop.chain.account(SPONSOR.pubkey()) == before


async def test_what_a_wallet_can_pay_no_more_costs_the_sponsor_nothing(shop: Shop, page: Page) -> None:
    """It had enough when its invoice was made, and has spent it since."""
    late = await page.fund()
    token, (first, second) = page.token, [await page.fund(), await page.fund()]
    for invoice in (first, second):
        page.token = invoice["token"]
        assert (await page.post(invoice))["state"] == "active"
    before, page.token = await shop.chain.account(SPONSOR.pubkey()), token
    sent = {"transaction": base64.b64encode(page.sign(late["transaction"])).decode()}
    refused = problem(await page.call("POST", f"/invoices/{late['invoiceId']}/transaction", sent))
    assert refused.type is ProblemType.FUNDS_INSUFFICIENT
    assert (refused.extra["missing"], refused.extra["tokensHeld"]) == (["tokens"], "0")
    assert await shop.chain.account(SPONSOR.pubkey()) == before
    assert (await page.ok("GET", f"/invoices/{late['invoiceId']}"))["state"] == "waiting"
