"""A stock client (solana-pay-kit 0.10.0) lives a whole session over HTTP with the service and program as they are.

Nothing of retainer's own client takes part; only the top-up's transaction, which the kit wants finished, is built here.
"""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest_asyncio
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from retainer.chain.rpc import RpcChain
from retainer.chain.sessions import session_account
from retainer.chain.testing import token_balance
from retainer.localnet import airdrop
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.instructions import top_up
from retainer.protocol.pda import derive_ata
from retainer.protocol.problems import ProblemType, parse_problem
from retainer.protocol.session import ChainStatus
from retainer_provider.keys import keypair_text, load_keypair, write_private
from tests.localnet import LocalValidator
from tests.serving import client, run, serving
from tools.demo import upstream_service

TOKENS = 10_000_000
PRICE = 8_000
DEPOSIT = 10 * PRICE
ADDED = 10 * PRICE
Record = Callable[[str, object], None]
METERED = ('voucher_signer = "client"', 'voucher_signer = "operator"')

SPONSORED = ("upstream = ", 'sponsor_keypair = "sponsor.json"\nupstream = ')


@dataclass
class Customer:
    """A payer whose every credential the kit makes. `use` pays for one request."""

    stock: ModuleType
    http: httpx.AsyncClient
    payer: Keypair
    challenge: Any = None
    opened: Any = None
    proof: Any = None

    async def open(self) -> httpx.Response:
        """Answer the 402 of a first request."""
        self.challenge, request = self.stock.parse_session_challenge(await self.challenged())
        derive = self.stock.PaymentChannelOpenOptions(salt=self.stock.unique_salt(), deposit=DEPOSIT)
        if request.method_details.voucher_signer == "operator":
            operator = Pubkey.from_string(request.method_details.operator)
            channel = self.stock.derive_payment_channel_open(request, self.payer.pubkey(), operator, derive)
            self.proof = self.stock.sign_session_authentication(self.challenge.id, str(channel.channel_id), self.payer)
        self.opened = self.stock.create_payment_channel_session_opener(
            request,
            self.payer,
            Keypair(),
            options=self.stock.PaymentChannelSessionOpenOptions(open=derive, authentication=self.proof),
        )
        return await self.send(self.header(self.opened.action))

    async def challenged(self) -> str:
        unpaid = await self.http.get("/work")
        assert unpaid.status_code == 402
        header: str = unpaid.headers["www-authenticate"]
        return header

    @property
    def session(self) -> Pubkey:
        session: Pubkey = self.opened.open.channel_id
        return session

    def header(self, action: object) -> str:
        header: str = self.stock.serialize_session_credential(self.challenge, action)
        return header

    def paying(self) -> str:
        """The header that pays for one request."""
        session = self.opened.session
        return self.header(session.voucher_action(PRICE) if self.proof is None else session.use_action(self.proof))

    async def send(self, header: str, key: str | None = None) -> httpx.Response:
        headers = {"Authorization": header} if key is None else {"Authorization": header, "Idempotency-Key": key}
        return await self.http.post("/work", headers=headers, content=b"question")

    async def lose(self, header: str, key: str) -> None:
        """Send a request and hang up before it is answered."""
        url = urlsplit(str(self.http.base_url))
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(
            f"POST /work HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: {header}\r\nIdempotency-Key: {key}\r\n"
            "Content-Length: 8\r\n\r\nquestion".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def top_up(self, chain: RpcChain, amount: int) -> httpx.Response:
        """Add to the deposit; a stock `open` keeps it in the channel's associated account."""
        mint = self.opened.open.mint
        instruction = top_up(
            payer=self.payer.pubkey(),
            session=self.session,
            payer_token=derive_ata(self.payer.pubkey(), mint),
            escrow=derive_ata(self.session, mint),
            mint=mint,
            amount=amount,
            token_program=TOKEN_PROGRAM_ID,
        )
        _, request = self.stock.parse_session_challenge(await self.challenged())
        sponsor = request.method_details.fee_payer_key
        fee_payer = self.payer.pubkey() if sponsor is None else Pubkey.from_string(sponsor)
        blockhash = (await chain.latest_blockhash()).blockhash
        signed = Transaction.new_unsigned(Message.new_with_blockhash([instruction], fee_payer, blockhash))
        signed.partial_sign([self.payer], blockhash)
        action = self.opened.session.top_up_action(amount, base64.b64encode(bytes(signed)).decode())
        return await self.send(self.header(action))

    def spent(self, answer: httpx.Response) -> int:
        """What the kit reads in a receipt."""
        assert answer.status_code == 200, answer.text
        receipt = self.stock.parse_receipt(answer.headers["payment-receipt"])
        assert (receipt.reference, receipt.status) == (str(self.session), "success")
        return int(receipt.spent)


@dataclass(frozen=True)
class Market:
    """A service that is served, and who has what on its chain."""

    chain: RpcChain
    mint: Pubkey
    operator: Keypair
    payer: Keypair
    config: Path

    @asynccontextmanager
    async def served(self, *changes: tuple[str, str]) -> AsyncIterator[httpx.AsyncClient]:
        """The service with such changes to the settings that `init` wrote."""
        text = self.config.read_text()
        # What `scripts/evidence stock-client --sabotage` sets: a service that charges another price than expected here.
        planted = os.environ.get("RETAINER_PLANTED_PRICE")
        for old, new in (*changes, *([('price = "0.008"', f'price = "{planted}"')] if planted else [])):
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text)
        async with serving(self.config) as service, client(service.url) as http:
            yield http

    async def lamports(self, owner: Pubkey) -> int:
        info = await self.chain.account(owner)
        return 0 if info is None else info.lamports

    async def tokens(self) -> tuple[int, int]:
        """Of the payer, and of the service."""
        owners = (self.payer.pubkey(), self.operator.pubkey())
        payer, operator = [await token_balance(self.chain, owner, self.mint) for owner in owners]
        return payer, operator


@pytest_asyncio.fixture
async def market(localnet: LocalValidator, chain: RpcChain, tmp_path: Path) -> AsyncIterator[Market]:
    payer = await localnet.person()
    mint = await localnet.mint(payer.pubkey(), amount=TOKENS)
    async with upstream_service() as upstream:
        written = await run(
            *("init", str(tmp_path), "--realm", "shop.test", "--rpc-url", localnet.rpc_url),
            *("--mint", str(mint), "--upstream", upstream),
        )
        assert written.status == 0, written.err
        # A stock `open` names no operator, so the payee must be it.
        operator = load_keypair(tmp_path / "operator.json")
        await airdrop(localnet.rpc_url, chain, operator.pubkey(), 10_000_000_000)
        yield Market(chain, mint, operator, payer, tmp_path / "retainer.toml")


@pytest_asyncio.fixture
async def sponsor(localnet: LocalValidator, market: Market) -> Keypair:
    """A key that only pays fees."""
    sponsor = await localnet.person()
    write_private(market.config.parent / "sponsor.json", keypair_text(sponsor))
    return sponsor


async def test_a_stock_client_lives_a_metered_session(
    stock: ModuleType, market: Market, record_property: Record
) -> None:
    """Opened, used, refused once, one answer lost, depleted, topped up, closed: 13 requests paid, the rest refunded."""
    before = await market.lamports(market.payer.pubkey())
    async with market.served(METERED) as http:
        await metered_life(Customer(stock, http, market.payer), market)
    assert await market.tokens() == (TOKENS - 13 * PRICE, 13 * PRICE)
    # Two transactions; all rent came back.
    assert before - await market.lamports(market.payer.pubkey()) == 2 * 5000
    record_property("metered, self-paid", "13 requests: 0.104 settled, 0.056 refunded; payer -10000 lamports")


async def metered_life(customer: Customer, market: Market) -> None:
    stock = customer.stock
    opening = await customer.open()
    assert customer.spent(opening) == 0
    assert "length" not in opening.json()
    for number in range(1, 4):
        answer = await customer.send(customer.paying())
        assert answer.json()["length"] == 8
        assert customer.spent(answer) == number * PRICE

    forged = stock.sign_session_authentication(customer.challenge.id, str(customer.session), Keypair())
    refused = await customer.send(customer.header(customer.opened.session.use_action(forged)))
    assert parse_problem(refused.content).type == ProblemType.VERIFICATION_FAILED

    await customer.lose(customer.paying(), "lost")
    first, second = [await customer.send(customer.paying(), "lost") for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert customer.spent(second) == 4 * PRICE

    for _ in range(6):
        answer = await customer.send(customer.paying())
    assert customer.spent(answer) == DEPOSIT
    assert parse_problem((await customer.send(customer.paying())).content).type == ProblemType.SESSION_DEPLETED
    assert customer.spent(await customer.top_up(market.chain, ADDED)) == DEPOSIT
    account = await session_account(market.chain, customer.session)
    assert account is not None
    assert account.deposit == DEPOSIT + ADDED
    for _ in range(3):
        answer = await customer.send(customer.paying())
    assert customer.spent(answer) == 13 * PRICE

    closed = await customer.send(customer.header(customer.opened.session.close_action(authentication=customer.proof)))
    assert customer.spent(closed) == 13 * PRICE
    receipt = stock.parse_receipt(closed.headers["payment-receipt"])
    assert int(receipt.refunded) == 7 * PRICE
    assert (await market.chain.signatures_for(customer.session))[0] == receipt.tx_hash
    assert await market.chain.account(customer.session) is None


async def test_a_stock_client_is_sponsored(
    stock: ModuleType, market: Market, sponsor: Keypair, record_property: Record
) -> None:
    """Both lives again: the payer's SOL stays what it was, the sponsor pays for eight signatures."""
    before, lent = await market.lamports(market.payer.pubkey()), await market.lamports(sponsor.pubkey())
    async with market.served(SPONSORED, METERED) as http:
        await metered_life(Customer(stock, http, market.payer), market)
    assert await market.lamports(sponsor.pubkey()) == lent - 2 * 2 * 5000
    async with market.served(METERED[::-1]) as http:
        customer = Customer(stock, http, market.payer)
        await voucher_life(customer, market)
    # The empty account of a session of vouchers holds its rent until nobody can open its address again.
    rent = await market.lamports(customer.session)
    assert await market.lamports(sponsor.pubkey()) == lent - 4 * 2 * 5000 - rent
    assert await market.lamports(market.payer.pubkey()) == before
    assert await market.tokens() == (TOKENS - 25 * PRICE, 25 * PRICE)
    paid = "payer 0 lamports, sponsor -20000"
    record_property("metered, sponsored", f"13 requests: 0.104 settled, 0.056 refunded; {paid}")
    record_property("voucher, sponsored", f"12 requests: 0.096 settled, 0.064 refunded; {paid} and {rent} of rent lent")


async def test_a_stock_client_lives_a_session_of_vouchers(
    stock: ModuleType, market: Market, record_property: Record
) -> None:
    """The same by vouchers: 12 requests paid although 15 were authorized, since a refused one jumps the next ahead."""
    before = await market.lamports(market.payer.pubkey())
    async with market.served() as http:
        customer = Customer(stock, http, market.payer)
        await voucher_life(customer, market)
    assert await market.tokens() == (TOKENS - 12 * PRICE, 12 * PRICE)
    rent = await market.lamports(customer.session)
    assert before - await market.lamports(market.payer.pubkey()) == 2 * 5000 + rent
    told = f"12 requests: 0.096 settled, 0.064 refunded; payer -10000 lamports and {rent} of rent lent"
    record_property("voucher, self-paid", told)


async def voucher_life(customer: Customer, market: Market) -> None:
    stock = customer.stock
    opening = await customer.open()
    assert customer.spent(opening) == 0
    assert "length" not in opening.json()
    for number in range(1, 4):
        answer = await customer.send(customer.paying())
        assert answer.json()["length"] == 8
        assert customer.spent(answer) == number * PRICE
        assert stock.parse_receipt(answer.headers["payment-receipt"]).accepted_cumulative == str(number * PRICE)

    assert (await customer.send(customer.paying(), "k" * 256)).status_code == 400
    lost = customer.paying()
    await customer.lose(lost, "lost")
    first, second = [await customer.send(lost, "lost") for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert customer.spent(second) == 4 * PRICE

    for _ in range(5):
        answer = await customer.send(customer.paying())
    assert customer.spent(answer) == 9 * PRICE
    beyond = parse_problem((await customer.send(customer.paying())).content)
    assert "top the session up" in beyond.detail
    assert customer.spent(await customer.top_up(market.chain, ADDED)) == 9 * PRICE
    for _ in range(3):
        answer = await customer.send(customer.paying())
    assert customer.spent(answer) == 12 * PRICE

    closed = await customer.send(customer.header(customer.opened.session.close_action(PRICE)))
    assert customer.spent(closed) == 12 * PRICE
    receipt = stock.parse_receipt(closed.headers["payment-receipt"])
    assert int(receipt.refunded) == 8 * PRICE
    left = await session_account(market.chain, customer.session)
    assert left is not None
    assert left.status is ChainStatus.CLOSED
