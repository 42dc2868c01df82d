"""Whether a wallet can pay an invoice at all: said with numbers, before it is asked to sign."""

from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import read_token_account
from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.layouts import SESSION_LEN
from retainer.protocol.pda import derive_ata
from retainer.protocol.problems import ProblemType
from retainer.protocol.tokens import token_symbol
from retainer_provider.offers import Offer
from retainer_provider.people.views import amounts
from retainer_provider.sessions.refusals import Refusal

SOL_DECIMALS: Final = 9
_FEE_LAMPORTS: Final = 5_000  # one signature; what we build has no priority fee
_TOKEN_ACCOUNT_LEN: Final = 165


class Means:
    """Looks at wallets."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._rents: dict[int, int] = {}

    async def shortage(
        self, payer: Pubkey, offer: Offer, amount: int, *, opens: bool, sponsored: bool
    ) -> Refusal | None:
        """What `payer` lacks for a deposit of `amount` base units; None where nothing is missing.

        `opens`: it has to pay the rent of a session as well. `sponsored`: it needs no SOL at all.
        """
        address = derive_ata(payer, offer.mint, offer.token_program)
        account, wallet = await self._chain.accounts([address, payer])
        held = _tokens(account)
        lamports = 0 if wallet is None else wallet.lamports
        needed = 0 if sponsored else await self._lamports(account, opens=opens)
        missing: list[Json] = [name for name, short in (("tokens", held < amount), ("sol", lamports < needed)) if short]
        if not missing:
            return None
        name = token_symbol(offer.mint) or "of the token"
        words = []
        if held < amount:
            has, takes = (format_amount(units, offer.decimals) for units in (held, amount))
            words.append(
                f"Your wallet has {has} {name}, and this takes {takes}: send it more, or choose a smaller amount."
            )
        if lamports < needed:
            has, takes = (format_amount(units, SOL_DECIMALS) for units in (lamports, needed))
            back = " Most of it is rent, which comes back." if opens else ""
            words.append(f"Your wallet has {has} SOL, and the network takes {takes}: send it some SOL.{back}")
        return Refusal(
            ProblemType.FUNDS_INSUFFICIENT,
            " ".join([*words, "Nothing was paid."]),
            extra={
                "missing": missing,
                **amounts(offer.decimals, tokensNeeded=amount, tokensHeld=held),
                **amounts(SOL_DECIMALS, lamportsNeeded=needed, lamportsHeld=lamports),
            },
        )

    async def _lamports(self, account: AccountInfo | None, *, opens: bool) -> int:
        """Fee and rents, and what the runtime wants an account to keep that is not emptied."""
        # The escrow is a token account like the wallet's own.
        escrow = _TOKEN_ACCOUNT_LEN if account is None else len(account.data)
        spaces = [0, SESSION_LEN, escrow] if opens else [0]
        return _FEE_LAMPORTS + sum([await self._rent(space) for space in spaces])

    async def _rent(self, space: int) -> int:
        if space not in self._rents:
            self._rents[space] = await self._chain.minimum_balance(space)
        return self._rents[space]


def _tokens(account: AccountInfo | None) -> int:
    try:
        return 0 if account is None else read_token_account(account).amount
    except ForeignAccountError:
        return 0
