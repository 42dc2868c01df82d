from dataclasses import replace
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import LayoutError, MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.instructions import ed25519_voucher
from retainer.protocol.vouchers import (
    SignedVoucher,
    Voucher,
    decode_voucher,
    sign_voucher,
    verify_voucher,
    voucher_bytes,
    voucher_from_json,
    voucher_to_json,
)
from tests.golden import golden
from tests.unit.protocol.examples import SESSION, SIGNER, STRANGER

VOUCHER = Voucher(SESSION, BaseUnits(8000), 1234)
SIGNED = sign_voucher(VOUCHER, SIGNER)
# A key of order 8: with it, a forger can make signatures that lenient verifiers accept for many messages.
SMALL_ORDER = Pubkey.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"))
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize("case", golden("vouchers"))
def test_vouchers_are_signed_as_in_the_vectors(case: dict[str, Any]) -> None:
    """The first case is the one that the wire draft publishes."""
    voucher = Voucher(
        Pubkey.from_string(case["channelId"]), BaseUnits(int(case["cumulativeAmount"])), case["expiresAt"]
    )
    signed = sign_voucher(voucher, Keypair.from_seed(bytes.fromhex(case["seed"])))
    assert voucher_bytes(voucher).hex() == case["bytes"]
    assert (str(signed.signer), str(signed.signature)) == (case["signer"], case["signature"])
    assert verify_voucher(signed)
    assert decode_voucher(bytes.fromhex(case["bytes"])) == voucher
    assert bytes(ed25519_voucher(signed).data).hex() == case["precompileData"]


def test_the_precompile_instruction_points_only_into_itself() -> None:
    """C17: an offset into another instruction would let the verified message differ from the one that is read."""
    data = bytes(ed25519_voucher(SIGNED).data)
    words = [int.from_bytes(data[at : at + 2], "little") for at in range(2, 16, 2)]
    assert data[:2] == b"\1\0"
    assert words == [48, 0xFFFF, 16, 0xFFFF, 112, 50, 0xFFFF]
    assert data[16:48] == bytes(SIGNED.signer)
    assert data[48:112] == bytes(SIGNED.signature)
    assert data[112:] == voucher_bytes(VOUCHER)
    assert len(data) == 162


@pytest.mark.parametrize(
    "forged",
    [
        replace(SIGNED, voucher=replace(VOUCHER, cumulative=BaseUnits(8001))),
        replace(SIGNED, voucher=replace(VOUCHER, expires_at=0)),
        replace(SIGNED, voucher=replace(VOUCHER, channel_id=STRANGER.pubkey())),
        replace(SIGNED, signer=STRANGER.pubkey()),
        replace(SIGNED, signature=Signature.default()),
    ],
)
def test_a_changed_voucher_does_not_verify(forged: SignedVoucher) -> None:
    assert verify_voucher(SIGNED)
    assert not verify_voucher(forged)


@pytest.mark.row(
    "F17", attack="small-order keys, malleable and non-canonical signatures", twin="the signer's own verifies"
)
def test_malleable_signatures_and_small_order_keys_do_not_verify() -> None:
    """F17."""
    raw = bytes(SIGNED.signature)
    shifted = (int.from_bytes(raw[32:], "little") + GROUP_ORDER).to_bytes(32, "little")
    assert not verify_voucher(replace(SIGNED, signature=Signature.from_bytes(raw[:32] + shifted)))
    identity = b"\1" + bytes(31)
    for key in (SMALL_ORDER, Pubkey.from_bytes(identity)):
        forged = SignedVoucher(VOUCHER, key, Signature.from_bytes(identity + bytes(32)))
        assert not verify_voucher(forged)


@pytest.mark.parametrize(
    "data", [b"", voucher_bytes(VOUCHER)[:-1], voucher_bytes(VOUCHER) + b"\0", b"\x56\x02" + voucher_bytes(VOUCHER)[2:]]
)
def test_other_bytes_are_no_voucher(data: bytes) -> None:
    with pytest.raises(LayoutError):
        decode_voucher(data)


def test_an_amount_that_does_not_fit_is_not_signed() -> None:
    with pytest.raises(LayoutError):
        sign_voucher(replace(VOUCHER, cumulative=BaseUnits(2**64)), SIGNER)


def test_the_json_form_comes_back_and_leaves_never_out() -> None:
    assert voucher_from_json(Fields(voucher_to_json(SIGNED), "voucher")) == SIGNED
    forever = sign_voucher(replace(VOUCHER, expires_at=0), SIGNER)
    written = voucher_to_json(forever)
    assert written["voucher"] == {"channelId": str(SESSION), "cumulativeAmount": "8000"}
    assert voucher_from_json(Fields(written, "voucher")) == forever
    written["voucher"] = {"channelId": str(SESSION), "cumulativeAmount": "8000", "expiresAt": 0}
    assert voucher_from_json(Fields(written, "voucher")) == forever


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signer", "x"),
        ("signature", "x"),
        ("signatureType", "secp256r1"),
        ("voucher", {}),
        ("voucher.channelId", "x"),
        ("voucher.cumulativeAmount", 8000),
        ("voucher.expiresAt", "1234"),
        ("voucher.expiresAt", -1),
    ],
)
def test_a_bad_field_is_named(field: str, value: object) -> None:
    message: dict[str, Any] = voucher_to_json(SIGNED)
    outer, _, inner = field.partition(".")
    if inner:
        message[outer][inner] = value
    else:
        message[outer] = value
    with pytest.raises(MessageError, match=f"payload.voucher.{field}"):
        voucher_from_json(Fields(message, "payload.voucher"))
