"""Well-known tokens, for people to read; money is always identified by its mint."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from solders.pubkey import Pubkey


@dataclass(frozen=True, slots=True)
class KnownToken:
    """What its issuer calls it, and its decimals."""

    symbol: str
    name: str
    decimals: int


_USDC: Final = KnownToken("USDC", "USD Coin", 6)
KNOWN_TOKENS: Final[Mapping[Pubkey, KnownToken]] = MappingProxyType(
    {
        Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"): _USDC,
        Pubkey.from_string("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"): _USDC,  # devnet
        Pubkey.from_string("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"): KnownToken("USDT", "Tether USD", 6),
        Pubkey.from_string("2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo"): KnownToken("PYUSD", "PayPal USD", 6),
        Pubkey.from_string("So11111111111111111111111111111111111111112"): KnownToken("SOL", "Wrapped SOL", 9),
    }
)
"""By mint, on mainnet where no other cluster is named."""

ALLOWED_MINT_EXTENSIONS: Final = range(18, 24)
"""Token-2022 extensions that change nothing about who gets how much: metadata, groups. The program takes no others."""


def token_symbol(mint: Pubkey) -> str | None:
    """The symbol of a mint known to be that token (USDC on mainnet and devnet, wrapped SOL, ...); None for others."""
    known = KNOWN_TOKENS.get(mint)
    return None if known is None else known.symbol


def known_decimals(mint: Pubkey) -> int | None:
    """The decimals of a well-known token; None for any other."""
    known = KNOWN_TOKENS.get(mint)
    return None if known is None else known.decimals
