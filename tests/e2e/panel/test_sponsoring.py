"""A wallet without SOL: it pays where the provider sponsors, and is told what to do where it does not."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from solders.keypair import Keypair

from retainer.localnet import airdrop
from tests.browser_wallet import BrowserWallet
from tests.e2e.panel.conftest import DEPOSIT, Shop, opened
from tools.panel import PRICE
from tools.stage import write_keypair

pytestmark = pytest.mark.asyncio(loop_scope="module")
SPONSOR_LAMPORTS = 1_000_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generous(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Shop, Keypair]]:
    """A provider that pays for its payers, and the key that it does so with."""
    folder, sponsor = tmp_path_factory.mktemp("generous"), Keypair()
    write_keypair(folder / "sponsor.json", sponsor)
    async with opened(folder, browser, service={"sponsor_keypair": "sponsor.json"}) as shop:
        await airdrop(shop.stood.rpc_url, shop.stood.chain, sponsor.pubkey(), SPONSOR_LAMPORTS)
        yield shop, sponsor


async def test_a_wallet_without_sol_funds_tops_up_and_closes_where_it_is_sponsored(
    generous: tuple[Shop, Keypair],
) -> None:
    shop, sponsor = generous
    guest = await shop.visit(wallet := BrowserWallet(await shop.stood.new_agent("2.0", lamports=0)))
    await guest.visitor.order("1.0")
    await guest.reads("The provider pays the network fee: your wallet needs no SOL.")
    await guest.choose_wallet()
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    await guest.visitor.ask("Who pays the fee?")
    await guest.visitor.button("Top up").click()
    await guest.visitor.order("0.5")
    await guest.choose_wallet()
    await guest.visitor.sees(balance="1.492 TEST")
    *_, transaction = await guest.visitor.close()
    await shop.stood.until_final(transaction)
    assert await shop.paid(wallet.keypair, 2 * DEPOSIT) == PRICE
    assert await shop.stood.chain.account(wallet.keypair.pubkey()) is None
    left = await shop.stood.chain.account(sponsor.pubkey())
    assert left is not None
    # The rent of session and escrow was lent, and came back but for what the program keeps until its address is free.
    assert SPONSOR_LAMPORTS - left.lamports < 6_000_000


async def test_a_wallet_without_enough_tokens_is_told_how_many_it_has(generous: tuple[Shop, Keypair]) -> None:
    shop, _ = generous
    guest = await shop.visit(wallet := BrowserWallet(await shop.stood.new_agent("0.4", lamports=0)))
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await guest.reads("Your wallet has 0.4 TEST, and this takes 1.0 TEST.", "Nothing was paid.")
    assert wallet.requests == ["connect"]
    await guest.visitor.button("Cancel").click()
    await guest.fund("0.4")
    await guest.visitor.sees(state="active", balance="0.4 TEST")


async def test_a_wallet_without_sol_is_told_how_much_it_takes_where_nobody_sponsors(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.wallet("5.0", lamports=1_000_000))
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await guest.reads("Your wallet has 0.001 SOL, and the network takes", "Send it some SOL and pay again.")
    assert wallet.requests == ["connect"]
    await airdrop(shop.stood.rpc_url, shop.stood.chain, wallet.keypair.pubkey(), 1_000_000_000)
    await guest.choose_wallet()
    await guest.visitor.sees(state="active", balance="1.0 TEST")
