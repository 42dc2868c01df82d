"""Vouchers: cumulative authorizations, 50 signed bytes that the program reads back from the Ed25519 precompile."""

import struct
from dataclasses import dataclass
from typing import Final

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol import fields
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import JSON_INTEGER_MAX
from retainer.protocol.encoding import Json
from retainer.protocol.errors import LayoutError
from retainer.protocol.fields import Fields

SIGNATURE_TYPE: Final = "ed25519"


@dataclass(frozen=True, slots=True)
class Voucher:
    """A ceiling: the payee may settle up to ``cumulative`` base units in all; ``expires_at`` 0 means never."""

    channel_id: Pubkey
    cumulative: BaseUnits
    expires_at: int = 0


@dataclass(frozen=True, slots=True)
class SignedVoucher:
    """A voucher with the key that signed it; not verified by existing, see ``verify_voucher``."""

    voucher: Voucher
    signer: Pubkey
    signature: Signature


# "V" and the format's version keep these bytes apart from anything else the key might sign.
_TAG: Final = b"\x56\x01"
# Channel, cumulative u64, expiry i64. A provider packs them with each request: construct would take ten times as long.
_PARTS: Final = struct.Struct("<32sQq")
_SIZE: Final = len(_TAG) + _PARTS.size


def voucher_bytes(voucher: Voucher) -> bytes:
    """The 50 bytes that are signed; LayoutError when a number does not fit."""
    try:
        return _TAG + _PARTS.pack(bytes(voucher.channel_id), voucher.cumulative, voucher.expires_at)
    except struct.error as error:
        raise LayoutError(f"a voucher's number does not fit: {error}") from None


def decode_voucher(data: bytes) -> Voucher:
    """The voucher in 50 signed bytes; LayoutError on anything else."""
    if len(data) != _SIZE or not data.startswith(_TAG):
        raise LayoutError(f"a voucher has {_SIZE} bytes and starts with {_TAG.hex()}: these are {len(data)}")
    channel_id, cumulative, expires_at = _PARTS.unpack_from(data, len(_TAG))
    return Voucher(Pubkey(channel_id), BaseUnits(cumulative), expires_at)


def sign_voucher(voucher: Voucher, keypair: Keypair) -> SignedVoucher:
    """Sign with the session's authorized signer."""
    return SignedVoucher(voucher, keypair.pubkey(), keypair.sign_message(voucher_bytes(voucher)))


def verify_voucher(signed: SignedVoucher) -> bool:
    """Whether ``signer`` signed it (no small-order key, no malleable signature); the caller checks who that is."""
    return signed.signature.verify(signed.signer, voucher_bytes(signed.voucher))


def voucher_to_json(signed: SignedVoucher) -> dict[str, Json]:
    """The draft's signed voucher object; ``expiresAt`` is left out when it never expires."""
    voucher: dict[str, Json] = {
        "channelId": str(signed.voucher.channel_id),
        "cumulativeAmount": str(signed.voucher.cumulative),
    }
    if signed.voucher.expires_at:
        voucher["expiresAt"] = signed.voucher.expires_at
    return {
        "voucher": voucher,
        "signer": str(signed.signer),
        "signature": str(signed.signature),
        "signatureType": SIGNATURE_TYPE,
    }


def voucher_from_json(signed: Fields) -> SignedVoucher:
    """Read the draft's signed voucher object; MessageError names the bad field."""
    voucher = signed.inside("voucher")
    signed.require("signatureType", fields.exactly(SIGNATURE_TYPE))
    return SignedVoucher(
        Voucher(
            channel_id=voucher.require("channelId", fields.pubkey),
            cumulative=voucher.require("cumulativeAmount", fields.units),
            expires_at=voucher.optional("expiresAt", fields.integer(0, JSON_INTEGER_MAX)) or 0,
        ),
        signer=signed.require("signer", fields.pubkey),
        signature=signed.require("signature", fields.signature),
    )
