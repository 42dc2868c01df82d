"""The payload of a voucher in canonical text, read at once: a provider gets a new one with each request."""

from typing import Final

import msgspec

from retainer.protocol import fields
from retainer.protocol.actions import VoucherAction
from retainer.protocol.constants import JSON_INTEGER_MAX
from retainer.protocol.vouchers import SIGNATURE_TYPE, SignedVoucher, Voucher

_expiry: Final = fields.integer(0, JSON_INTEGER_MAX)


# Named as on the wire and in RFC 8785's order, so that what is written again is the canonical text.
class _Voucher(msgspec.Struct, omit_defaults=True, gc=False):
    channelId: str  # noqa: N815
    cumulativeAmount: str  # noqa: N815
    expiresAt: int | None = None  # noqa: N815


class _Signed(msgspec.Struct, gc=False):
    signature: str
    signatureType: str  # noqa: N815
    signer: str
    voucher: _Voucher


class _Payload(msgspec.Struct, gc=False):
    action: str
    channelId: str  # noqa: N815
    voucher: _Signed


def canonical_voucher(text: bytes) -> VoucherAction | None:
    """What ``action_from_json`` makes of it; None for any other text, bad ones too, which it can say more about."""
    try:
        payload = msgspec.json.decode(text, type=_Payload)
        signed = payload.voucher
        said = signed.voucher
        # Byte by byte as it was read: nothing is there twice, or besides.
        if msgspec.json.encode(payload) != text or payload.channelId != said.channelId:
            return None
        if (payload.action, signed.signatureType) != ("voucher", SIGNATURE_TYPE):
            return None
        channel_id = fields.pubkey(said.channelId)
        expires_at = 0 if said.expiresAt is None else _expiry(said.expiresAt)
        voucher = Voucher(channel_id, fields.units(said.cumulativeAmount), expires_at)
        return VoucherAction(
            channel_id, SignedVoucher(voucher, fields.pubkey(signed.signer), fields.signature(signed.signature))
        )
    except (ValueError, RecursionError, fields.FieldValueError):
        return None
