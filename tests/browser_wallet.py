"""A wallet in a browser whose keys and moods are the test's: registered by the Wallet Standard, signing for real."""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.async_api import BrowserContext, Page
from solders.keypair import Keypair
from solders.message import Message
from solders.transaction import Transaction

_SCRIPT: Final = Path(__file__).parent / "e2e" / "panel" / "wallet.js"
LOCALNET: Final = ("solana:localnet",)
# Where the deposit of an opening stands in its instruction, and the price of its terms.
_DEPOSIT: Final = slice(9, 17)
_TERMS_PRICE: Final = slice(29, 37)
REJECTED: Final = 4001  # EIP-1193's number, which Solana's wallets use as well


class WalletError(Exception):
    """What the wallet throws at the page: words, and a number where wallets have one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


async def _willing(_request: str) -> None:
    """Its owner says yes to everything."""


@dataclass
class BrowserWallet:
    """`sends` makes it one that sends what it signs, by `send`; `mood` hears of each request, and may refuse it."""

    keypair: Keypair
    name: str = "Test wallet"
    chains: tuple[str, ...] = LOCALNET
    send: Callable[[bytes], Awaitable[object]] | None = None
    mood: Callable[[str], Awaitable[None]] = _willing
    alter: Callable[[Transaction], Message] | None = None
    """What a careless or hostile wallet makes of a transaction before it signs it."""
    requests: list[str] = field(default_factory=list)

    async def join(self, context: BrowserContext) -> None:
        """Be in every page of a browser from now on."""
        options = json.dumps({"name": self.name, "sends": self.send is not None})
        await context.expose_function("askWallet", self._asked)
        await context.add_init_script(_SCRIPT.read_text(encoding="utf-8").replace("OPTIONS", options))

    async def switch(self, page: Page, keypair: Keypair) -> None:
        """Let its owner choose another account, and tell the page."""
        self.keypair = keypair
        await page.evaluate("(accounts) => window.switchAccounts(accounts)", [self._account()])

    async def _asked(self, request: str, payload: str) -> dict[str, Any]:
        self.requests.append(request)
        try:
            await self.mood(request)
            return await self._answer(request, base64.b64decode(payload))
        except WalletError as error:
            return {"error": {"message": str(error), "code": error.code}}

    async def _answer(self, request: str, payload: bytes) -> dict[str, Any]:
        if request == "connect":
            return {"accounts": [self._account()]}
        if request == "message":
            return {"signature": _text(bytes(self.keypair.sign_message(payload)))}
        signed = self._signed(payload)
        if request == "send" and self.send is not None:
            await self.send(bytes(signed))
            return {"signature": _text(bytes(signed.signatures[0]))}
        return {"signed": _text(bytes(signed))}

    def _signed(self, raw: bytes) -> Transaction:
        shown = Transaction.from_bytes(raw)
        transaction = shown if self.alter is None else Transaction.new_unsigned(self.alter(shown))
        transaction.partial_sign([self.keypair], transaction.message.recent_blockhash)
        return transaction

    def _account(self) -> dict[str, Any]:
        return {
            "address": str(self.keypair.pubkey()),
            "publicKey": _text(bytes(self.keypair.pubkey())),
            "chains": list(self.chains),
            "features": [],
        }


def with_deposit(amount: int) -> Callable[[Transaction], Message]:
    """Pays in something else than the invoice says, in base units."""
    return lambda shown: _altered(shown, _DEPOSIT, amount)


def with_price(price: int) -> Callable[[Transaction], Message]:
    """Commits the session to another price than the offer's, in base units."""
    return lambda shown: _altered(shown, _TERMS_PRICE, price)


def _altered(shown: Transaction, place: slice, number: int) -> Message:
    raw, data = bytes(shown.message), bytes(shown.message.instructions[0].data)
    changed = bytearray(data)
    changed[place] = number.to_bytes(8, "little")
    assert raw.count(data) == 1
    return Message.from_bytes(raw.replace(data, bytes(changed)))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
