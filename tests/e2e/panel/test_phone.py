"""Paying by phone: the page shows the code, the phone pays, and nobody clicks anything. Without HTTPS it says so."""

import base64
import json
from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from solders.transaction import Transaction

from tests.e2e.panel.conftest import DEPOSIT, Shop, opened
from tools import panel

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def public(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One that phones could reach, had it this name."""
    offers = panel.offers(free=0).replace('path = "/"', 'path = "/"\npublic_url = "https://api.your-domain.org"')
    async with opened(tmp_path_factory.mktemp("public"), browser, offers=offers) as running:
        yield running


async def test_a_phone_pays_while_the_page_waits(public: Shop) -> None:
    shop = public
    phone, guest = (await shop.stood.new_agent()), await shop.visit(await shop.wallet())
    await guest.visitor.order("1.0")
    await guest.visitor.button("Show the QR code").click()
    await expect(guest.visitor.page.get_by_role("img", name="QR code for Solana Pay")).to_be_visible()
    kept = json.loads(await guest.kept() or "")["invoice"]
    async with httpx.AsyncClient(base_url=shop.stood.service.url) as http:
        bearer = {"authorization": f"Bearer {kept['token']}"}
        invoice = (await http.get(f"/api/invoices/{kept['id']}", headers=bearer)).json()
        link = urlsplit(unquote(invoice["solanaPayUrl"].removeprefix("solana:")))
        asked = (await http.post(link.path, json={"account": str(phone.pubkey())})).json()
    transaction = Transaction.from_bytes(base64.b64decode(asked["transaction"]))
    transaction.partial_sign([phone], transaction.message.recent_blockhash)
    await shop.stood.chain.send(bytes(transaction))
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    assert await shop.paid(phone, 5_000_000) == DEPOSIT


async def test_without_a_public_https_address_the_page_says_what_is_missing(shop: Shop) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.visitor.order("1.0")
    await guest.reads("This service has no public HTTPS address, which Solana Pay needs")
    await expect(guest.visitor.button("Show the QR code")).to_have_count(0)
