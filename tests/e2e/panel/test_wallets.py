"""Wallets that refuse, are locked, are elsewhere or have nothing: each gets a sentence, and none pays unknowingly."""

import asyncio

import pytest
from playwright.async_api import expect

from tests.browser_wallet import REJECTED, BrowserWallet, WalletError
from tests.e2e.panel.conftest import DEPOSIT, Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")
FUNDS = 5_000_000


def refusing(wallet: BrowserWallet, request: str, message: str, code: int | None = None) -> None:
    """Let the wallet throw when it is asked for that."""

    async def mood(asked: str) -> None:
        if asked == request:
            raise WalletError(message, code)

    wallet.mood = mood


@pytest.mark.parametrize(
    ("request_", "message", "code", "said"),
    [
        ("connect", "User rejected the request.", REJECTED, "You said no in your wallet. Nothing was paid."),
        ("transaction", "User rejected the request.", REJECTED, "You said no in your wallet. Nothing was paid."),
        ("transaction", "Transaction cancelled", None, "You said no in your wallet. Nothing was paid."),
        ("connect", "Wallet is locked", -32603, "Your wallet is locked. Unlock it and try again."),
        ("transaction", "Please unlock your wallet first", None, "Your wallet is locked. Unlock it and try again."),
        ("transaction", "Ledger device: wrong app open", None, "Your wallet says: Ledger device: wrong app open"),
    ],
)
async def test_what_a_wallet_says_no_with_is_told_and_it_can_be_asked_again(
    shop: Shop, request_: str, message: str, code: int | None, said: str
) -> None:
    guest = await shop.visit(wallet := await shop.wallet())
    await guest.visitor.order("1.0")
    willing = wallet.mood
    refusing(wallet, request_, message, code)
    await guest.choose_wallet()
    await guest.reads(said)
    wallet.mood = willing
    await guest.choose_wallet()
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    assert await shop.paid(wallet.keypair, FUNDS) == DEPOSIT


async def test_a_wallet_on_another_network_is_told_which_one_to_choose(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.wallet())
    wallet.chains = ("solana:mainnet",)
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await guest.reads("account is not on this service")
    assert "transaction" not in wallet.requests
    wallet.chains = ("solana:localnet",)
    await guest.choose_wallet()
    await guest.visitor.sees(state="active", balance="1.0 TEST")


async def test_an_account_that_is_switched_after_the_invoice_was_its_own_pays_nothing(shop: Shop) -> None:
    """The first account is named, then refuses; its owner switches to another one, and back."""
    guest = await shop.visit(wallet := await shop.wallet())
    first, other = wallet.keypair, await shop.stood.new_agent()
    refusing(wallet, "transaction", "User rejected the request.", REJECTED)
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await guest.reads("You said no in your wallet.")
    wallet.mood = (await shop.wallet()).mood
    await wallet.switch(guest.visitor.page, other)
    wallet.requests.clear()
    await guest.choose_wallet()
    await guest.reads("This invoice is for another wallet")
    assert "transaction" not in wallet.requests
    await wallet.switch(guest.visitor.page, first)
    await guest.choose_wallet()
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    assert await shop.paid(other, FUNDS) == 0


async def test_an_account_that_is_switched_while_the_wallet_is_asked_pays_nothing(shop: Shop) -> None:
    """The wallet signs with the account that was chosen meanwhile, as some do: what it signs is not handed in."""
    guest = await shop.visit(wallet := await shop.wallet())
    first, other = wallet.keypair, await shop.stood.new_agent()

    async def switching(request: str) -> None:
        if request == "transaction":
            await wallet.switch(guest.visitor.page, other)
            raise WalletError("The requested account is not the selected one")

    wallet.mood = switching
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await guest.reads("The requested account is not the selected one")
    assert await shop.paid(first, FUNDS) == await shop.paid(other, FUNDS) == 0


async def test_a_second_click_asks_the_wallet_once(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.wallet())
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def thinking(request: str) -> None:
        if request == "transaction":
            asked.set()
            await go_on.wait()

    wallet.mood = thinking
    await guest.visitor.order("1.0")
    button = guest.visitor.button(f"Pay with {wallet.name}")
    await button.dblclick()
    await asked.wait()
    await expect(button).to_have_attribute("aria-disabled", "true")
    await button.click(force=True)
    await guest.reads("Look at your wallet: it asks you to sign.")
    go_on.set()
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    assert wallet.requests.count("transaction") == 1
    assert await shop.paid(wallet.keypair, FUNDS) == DEPOSIT
