"""Symbols of well-known tokens, for people to read; money is always identified by its mint."""

from typing import Final

from solders.pubkey import Pubkey

_SYMBOLS: Final = {
    Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"): "USDC",
    Pubkey.from_string("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"): "USDC",
    Pubkey.from_string("So11111111111111111111111111111111111111112"): "SOL",
}


ALLOWED_MINT_EXTENSIONS: Final = range(18, 24)
"""Token-2022 extensions that change nothing about who gets how much: metadata, groups. The program takes no others."""


def token_symbol(mint: Pubkey) -> str | None:
    """The symbol of a mint known to be that token (USDC on mainnet and devnet, wrapped SOL); None for any other."""
    return _SYMBOLS.get(mint)
