"""Solana Pay's transaction request, version 1.1, from the wallet's side: written from its specification alone."""

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from tests.integration.conftest import AGENT, Shop
from tests.people import Page
from tests.shop import DEPOSIT, MINIMUM

ORIGIN = {"origin": "https://wallet.example"}


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any]) -> dict[str, Any]:
    raw_settings["panel"] = {"public_url": "https://shop.example"}
    return raw_settings


@pytest.fixture
def page(shop: Shop) -> Page:
    return Page(shop.http, AGENT)


def link_of(url: str) -> str:
    """The `link` of a transaction request URL: absolute HTTPS, percent-encoded, and alone."""
    scheme, _, path = url.partition(":")
    assert scheme == "solana"
    assert not set("/?&#") & set(path), "what is not encoded would end the link"
    link = unquote(path)
    parts = urlsplit(link)
    assert parts.scheme == "https"
    assert parts.hostname
    assert parts.username is parts.password is None
    return link


@dataclass
class Phone:
    """A wallet on a phone; it reaches the service's public address by this client."""

    http: httpx.AsyncClient
    account: Keypair

    async def label(self, link: str) -> dict[str, Any]:
        """The GET request."""
        answer = await self.http.get(urlsplit(link).path, headers={"accept-encoding": "gzip", **ORIGIN})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["access-control-allow-origin"] == "*"
        told: dict[str, Any] = answer.json()
        assert isinstance(told["label"], str)
        icon = urlsplit(told["icon"])
        assert icon.scheme == "https"
        picture = await self.http.get(icon.path)
        assert picture.headers["content-type"] in {"image/svg+xml", "image/png", "image/webp"}
        return told

    async def ask(self, link: str) -> httpx.Response:
        """The POST request, after the question that browsers send before it."""
        allowed = await self.http.options(
            urlsplit(link).path, headers={**ORIGIN, "access-control-request-method": "POST"}
        )
        assert allowed.is_success
        assert "POST" in allowed.headers["access-control-allow-methods"]
        assert "content-type" in allowed.headers["access-control-allow-headers"].lower()
        body = {"account": str(self.account.pubkey())}
        answer = await self.http.post(urlsplit(link).path, json=body, headers=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == "*"
        return answer

    async def transaction(self, link: str, shop: Shop) -> bytes:
        """What it signs: with its own fee payer and blockhash, since nobody has signed yet."""
        answer = await self.ask(link)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        told = answer.json()
        assert isinstance(told["message"], str)
        assert "token" not in told
        shown = Transaction.from_bytes(base64.b64decode(told["transaction"], validate=True))
        assert {bytes(signature) for signature in shown.signatures} == {bytes(64)}
        message = shown.message
        signers = message.account_keys[: message.header.num_required_signatures]
        assert signers == [self.account.pubkey()]
        latest = await shop.chain.latest_blockhash()
        return bytes(Transaction([self.account], message, latest.blockhash))


async def test_a_phone_opens_a_session_and_tops_it_up(shop: Shop, page: Page) -> None:
    phone = Phone(shop.http, AGENT)
    invoice = await page.ok("POST", "/sessions", {"offer": "standard", "amount": str(DEPOSIT)})
    page.token = invoice["token"]
    link = link_of(invoice["solanaPayUrl"])
    assert (await phone.label(link))["label"] == "shop.test"
    await shop.chain.send(await phone.transaction(link, shop))
    await shop.chain.sleep(1)
    paid = await page.ok("GET", f"/invoices/{invoice['invoiceId']}")
    assert paid["state"] == "active"
    topup = await page.ok("POST", f"/sessions/{paid['sessionId']}/topup", {"amount": str(MINIMUM)})
    await shop.chain.send(await phone.transaction(link_of(topup["solanaPayUrl"]), shop))
    await shop.chain.sleep(20)  # so much is credited only when it is final
    await page.ok("GET", f"/invoices/{topup['invoiceId']}")
    assert (await page.session(paid["sessionId"]))["deposit"] == str(DEPOSIT + MINIMUM)


async def test_a_wallet_is_told_in_its_own_member_why_it_is_refused(shop: Shop, page: Page, mint: Pubkey) -> None:
    invoice = await page.ok("POST", "/sessions", {"offer": "standard", "amount": str(DEPOSIT)})
    link = link_of(invoice["solanaPayUrl"])
    poor = await Phone(shop.http, Keypair()).ask(link)
    assert poor.status_code == 409
    assert poor.json()["message"] == poor.json()["detail"]
    assert poor.json()["message"].startswith("Your wallet has 0.0")
    await Phone(shop.http, AGENT).transaction(link, shop)
    shop.clock.ahead += 301
    late = await Phone(shop.http, AGENT).ask(link)
    assert (late.status_code, "over" in late.json()["message"]) == (409, True)
