"""What the caller's own RPC says about an offer, in one read."""

from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import read_token_account
from retainer.errors import OfferError
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.errors import LayoutError
from retainer.protocol.layouts import decode_mint
from retainer.protocol.pda import derive_ata
from retainer.protocol.token_names import METADATA_PROGRAM_ID, derive_metadata, extension_names, metaplex_names
from retainer.trust.policy import ChainFacts


async def read_facts(chain: Chain, mint: Pubkey, payer: Pubkey) -> ChainFacts:
    """The slot, the mint's program, decimals and names, and what the payer's associated token account holds."""
    holders = (derive_ata(payer, mint, program) for program in (TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID))
    token, metadata, *holdings = await chain.accounts([mint, derive_metadata(mint), *holders])
    if token is None:
        raise OfferError(f"there is no token {mint} on this chain; nothing was signed. Check the RPC address")
    try:
        decimals = decode_mint(token.data).decimals
    except LayoutError as error:
        raise OfferError(f"{mint} is no token: {error}; nothing was signed") from None
    held = sum(_balance(holding) for holding in holdings if holding is not None)
    return ChainFacts(token.slot, token.owner, decimals, BaseUnits(held), _names(mint, token, metadata))


def _names(mint: Pubkey, token: AccountInfo, metadata: AccountInfo | None) -> tuple[str, ...]:
    kept = () if metadata is None or metadata.owner != METADATA_PROGRAM_ID else metaplex_names(mint, metadata.data)
    return kept + extension_names(mint, token.data)


def _balance(holding: AccountInfo) -> int:
    try:
        return read_token_account(holding).amount
    except ForeignAccountError:
        return 0
