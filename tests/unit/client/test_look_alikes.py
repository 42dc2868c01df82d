"""Tokens that call themselves by another one's name, and where the names stand on chain."""

# ruff: noqa: RUF001 - letters that look like others are what this is about

import struct

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.token_names import METADATA_PROGRAM_ID, derive_metadata, extension_names, metaplex_names
from retainer.protocol.tokens import KNOWN_TOKENS
from retainer.trust.facts import read_facts
from retainer.trust.look_alikes import imitated
from tests.unit.client.conftest import Stage

USDC = Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
OTHER = Pubkey.new_unique()


def text(value: str, width: int = 0) -> bytes:
    raw = value.encode().ljust(width, b"\0")
    return struct.pack("<I", len(raw)) + raw


def metaplex(mint: Pubkey, name: str, symbol: str) -> bytes:
    """A metadata account as that program writes it: names padded with zeros, more behind them."""
    return b"\x04" + bytes(32) + bytes(mint) + text(name, 32) + text(symbol, 10) + text("https://example.org", 200)


@pytest.mark.parametrize(
    "name",
    ["USDC", "usdc", "U S D C", "USDС", "UЅDC", "ＵＳＤＣ", "ÚSDC", "U\u200bSDC", "USDC.e", "USD Coin", "u5dc", "ՍSDC"],
)
def test_a_name_that_reads_like_usdc_gives_another_token_away(name: str) -> None:
    assert imitated(OTHER, ["Some Token", name]) == "USDC"
    assert imitated(USDC, [name]) is None


@pytest.mark.parametrize("name", ["TEST", "Console", "Solar", "US Dollar", "", "DCUS"])
def test_an_honest_name_is_left_alone(name: str) -> None:
    assert imitated(OTHER, [name]) is None


def test_every_known_token_is_told_from_whoever_takes_its_symbol() -> None:
    for token in KNOWN_TOKENS.values():
        assert imitated(OTHER, [token.symbol]) == token.symbol


def test_names_are_read_from_both_places() -> None:
    assert metaplex_names(OTHER, metaplex(OTHER, "USD Coin", "USDC")) == ("USD Coin", "USDC")
    value = bytes(32) + bytes(OTHER) + text("Fake Dollar") + text("FUSD") + text("") + bytes(4)
    entries = struct.pack("<HH", 18, 64) + bytes(64) + struct.pack("<HH", 19, len(value)) + value
    assert extension_names(OTHER, bytes(166) + entries) == ("Fake Dollar", "FUSD")


@pytest.mark.parametrize("cut", [0, 1, 40, 70, 100])
def test_what_cannot_be_read_has_no_names(cut: int) -> None:
    assert metaplex_names(OTHER, metaplex(OTHER, "USD Coin", "USDC")[:cut]) == ()
    assert metaplex_names(OTHER, metaplex(USDC, "USD Coin", "USDC")) == ()
    assert extension_names(OTHER, bytes(166) + struct.pack("<HH", 19, 400) + bytes(cut)) == ()


async def test_the_users_node_tells_a_mints_names(stage: Stage) -> None:
    chain: FakeChain = stage.chain
    assert (await read_facts(chain, stage.mint, stage.agent.pubkey())).names == ()
    chain.put(derive_metadata(stage.mint), owner=METADATA_PROGRAM_ID, data=metaplex(stage.mint, "USD Coin", "USDC"))
    assert (await read_facts(chain, stage.mint, stage.agent.pubkey())).names == ("USD Coin", "USDC")
    # Anybody may make an account of their own program; only that one program's is a mint's metadata.
    chain.put(derive_metadata(stage.mint), owner=OTHER, data=metaplex(stage.mint, "USD Coin", "USDC"))
    assert (await read_facts(chain, stage.mint, stage.agent.pubkey())).names == ()
