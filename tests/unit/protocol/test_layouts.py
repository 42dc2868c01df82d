from dataclasses import fields, replace
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import LayoutError
from retainer.protocol.layouts import (
    SESSION_LAYOUT,
    SESSION_LEN,
    MintInfo,
    TokenAccount,
    decode_mint,
    decode_session,
    decode_token_account,
    encode_session,
)
from tests.golden import golden
from tests.unit.protocol.examples import ACCOUNT, MINT, PAYEE, PAYER

VECTOR = golden("session_account")
SESSION_BYTES = bytes.fromhex(VECTOR["bytes"])


def plain(value: Any) -> object:  # noqa: ANN401 - any field of the account
    if isinstance(value, bytes):
        return value.hex()
    return str(int(value)) if isinstance(value, int) else str(value)


def test_a_session_account_is_read_as_in_the_vectors() -> None:
    account = decode_session(SESSION_BYTES)
    assert {field.name: plain(getattr(account, field.name)) for field in fields(account)} == {
        name: str(value) for name, value in VECTOR["fields"].items()
    }
    assert encode_session(account) == SESSION_BYTES
    assert len(SESSION_BYTES) == SESSION_LEN == SESSION_LAYOUT.size


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (0, 0x00, "another discriminator (C04)"),
        (8, 2, "another version (C39)"),
        (10, 0, "no status"),
        (10, 4, "an unknown status"),
        (11, 2, "an unknown kind of escrow"),
        (13, 1, "reserved bytes in use"),
        (287, 1, "reserved bytes in use"),
    ],
)
@pytest.mark.row("C39", attack="an account of a version that is not known", twin="the known version is read")
def test_a_session_account_with_a_byte_out_of_place_is_refused(offset: int, value: int, why: str) -> None:
    broken = SESSION_BYTES[:offset] + bytes([value]) + SESSION_BYTES[offset + 1 :]
    with pytest.raises(LayoutError):
        decode_session(broken)
    assert why


@pytest.mark.parametrize("data", [b"", SESSION_BYTES[:-1], SESSION_BYTES + b"\0"])
def test_a_session_account_of_another_length_is_refused(data: bytes) -> None:
    with pytest.raises(LayoutError, match="352 bytes"):
        decode_session(data)


@pytest.mark.parametrize(
    "change", [{"deposit": -1}, {"deposit": 2**64}, {"grace_period": 2**32}, {"sla_hash": b"short"}, {"version": 2}]
)
def test_a_session_that_does_not_fit_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(LayoutError):
        encode_session(replace(ACCOUNT, **change))


def token_account(
    *, state: int = 1, delegate: Pubkey | None = None, close_authority: Pubkey | None = None, amount: int = 7
) -> bytes:
    def option(key: Pubkey | None) -> bytes:
        return bytes(36) if key is None else b"\1\0\0\0" + bytes(key)

    head = bytes(MINT) + bytes(PAYER.pubkey()) + amount.to_bytes(8, "little")
    return head + option(delegate) + bytes([state]) + bytes(12) + bytes(8) + option(close_authority)


def mint(*, decimals: int = 6, initialized: int = 1) -> bytes:
    return bytes(36) + (1000).to_bytes(8, "little") + bytes([decimals, initialized]) + bytes(36)


def extension(kind: int, value: bytes = b"") -> bytes:
    return kind.to_bytes(2, "little") + len(value).to_bytes(2, "little") + value


def test_token_accounts_of_both_programs_are_read() -> None:
    plain_account = TokenAccount(MINT, PAYER.pubkey(), BaseUnits(7), None, 1, None)
    assert decode_token_account(token_account()) == plain_account
    immutable_owner = token_account() + b"\x02" + extension(7)
    assert decode_token_account(immutable_owner) == replace(plain_account, extensions=(7,))
    watched = token_account(state=2, delegate=PAYEE.pubkey(), close_authority=PAYEE.pubkey())
    assert decode_token_account(watched) == replace(
        plain_account, state=2, delegate=PAYEE.pubkey(), close_authority=PAYEE.pubkey()
    )


def test_mints_of_both_programs_are_read() -> None:
    assert decode_mint(mint()) == MintInfo(6, BaseUnits(1000))
    metadata = mint() + bytes(83) + b"\x01" + extension(18, bytes(64)) + extension(19, b"abc") + bytes(9)
    assert decode_mint(metadata) == MintInfo(6, BaseUnits(1000), (18, 19))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        token_account()[:-1],
        token_account(state=0),
        token_account(state=3),
        token_account() + b"\x01" + extension(7),
        token_account() + b"\x02" + extension(7)[:-1],
        token_account() + b"\x02" + extension(8, b"\1")[:-1],
        token_account() + b"\x02" + extension(0, b"\1"),
        token_account() + b"\x02" + extension(0) + extension(7),
        (token_account() + b"\x02").ljust(355, b"\0"),
        token_account()[:72] + b"\x02" + token_account()[73:],
        mint(),
    ],
)
def test_what_is_no_token_account_is_refused(data: bytes) -> None:
    with pytest.raises(LayoutError):
        decode_token_account(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        mint(initialized=0),
        mint() + b"\0",
        mint() + bytes(83),
        mint() + bytes(83) + b"\x02" + extension(18),
        mint() + bytes(82) + b"\1" + b"\x01" + extension(18),
        token_account(),
    ],
)
def test_what_is_no_mint_is_refused(data: bytes) -> None:
    with pytest.raises(LayoutError):
        decode_mint(data)
