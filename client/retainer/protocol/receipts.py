"""Receipts: the provider's statement about one request or lifecycle call, signed by the session's operator."""

from typing import Final

import msgspec
from msgspec.structs import replace
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol import fields
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import INTENT, MAX_CREDENTIAL_BYTES, MAX_IDLE_TIMEOUT, METHOD
from retainer.protocol.encoding import Json, canonical_text, decode_base64url, encode_base64url, read_json
from retainer.protocol.errors import MessageError, SignatureError
from retainer.protocol.fields import Fields
from retainer.protocol.session import SessionState
from retainer.protocol.signing import Signer
from retainer.protocol.timestamps import parse_timestamp

RECEIPT_VERSION: Final = "1"

_STATUS: Final = "success"
# Keeps receipts apart from anything else the operator's key signs: vouchers, transactions.
_DOMAIN: Final = b"retainer-receipt-v1"


class MeteredDetails(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One metered request: its place in the session, what it cost, how it was judged, and digests of what was said.

    ``amount`` is 0 and ``charged`` false when SLA ``term`` was broken; digests are hexadecimal SHA-256, ``usage_hash``
    the head of the session's usage log after this request.
    """

    sequence: int
    amount: BaseUnits
    units: int
    charged: bool
    term: str | None = None
    status: int
    latency_ms: int
    request_digest: str
    response_digest: str
    usage_hash: str

    @classmethod
    def from_json(cls, metered: Fields) -> "MeteredDetails":
        """Read the object under ``retainer.metered``; MessageError names the bad field."""
        return cls(
            sequence=metered.require("sequence", fields.integer()),
            amount=metered.require("amount", fields.units),
            units=metered.require("units", fields.units),
            charged=metered.require("charged", fields.flag),
            term=metered.optional("term", fields.filled_text),
            status=metered.require("status", fields.integer(100, 599)),
            latency_ms=metered.require("latencyMs", fields.integer()),
            request_digest=metered.require("requestDigest", fields.hex_digest),
            response_digest=metered.require("responseDigest", fields.hex_digest),
            usage_hash=metered.require("usageHash", fields.hex_digest),
        )


class ReceiptExtension(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What retainer adds: the session's state, what is left, and the operator's signature over the whole receipt.

    ``credited`` comes with a close: what was charged and given back because availability fell short, in base units.
    """

    state: SessionState
    remaining: BaseUnits
    operator: Pubkey
    metered: MeteredDetails | None = None
    credited: BaseUnits | None = None
    signature: Signature | None = None

    @classmethod
    def from_json(cls, extension: Fields) -> "ReceiptExtension":
        """Read the object under ``retainer``; MessageError names the bad field."""
        extension.require("version", fields.exactly(RECEIPT_VERSION))
        metered = extension.inside_optional("metered")
        return cls(
            state=extension.require("state", fields.member(SessionState)),
            remaining=extension.require("remaining", fields.units),
            operator=extension.require("operator", fields.pubkey),
            metered=None if metered is None else MeteredDetails.from_json(metered),
            credited=extension.optional("credited", fields.units),
            signature=extension.optional("signature", fields.signature),
        )


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The draft's session receipt; ``reference`` is the session, ``timestamp`` RFC 3339, amounts cumulative base units.

    A close adds ``tx_hash`` and ``refunded``, and its ``spent`` is what was settled.
    """

    reference: Pubkey
    timestamp: str
    accepted_cumulative: BaseUnits
    spent: BaseUnits
    idle_timeout_seconds: int
    challenge_id: str | None = None
    tx_hash: str | None = None
    refunded: BaseUnits | None = None
    retainer: ReceiptExtension | None = None

    def to_json(self) -> dict[str, Json]:
        """The draft's object, with retainer's beside it."""
        message: dict[str, Json] = msgspec.to_builtins(_message(self))
        return message

    @classmethod
    def from_json(cls, value: object) -> "Receipt":
        """Read the draft's object, unknown fields ignored; MessageError names the bad field."""
        receipt = Fields(value, "receipt")
        receipt.require("method", fields.exactly(METHOD))
        receipt.require("intent", fields.exactly(INTENT))
        receipt.require("status", fields.exactly(_STATUS))
        timestamp = receipt.require("timestamp", fields.text)
        parse_timestamp(timestamp, "receipt.timestamp")
        extension = receipt.inside_optional("retainer")
        return cls(
            reference=receipt.require("reference", fields.pubkey),
            timestamp=timestamp,
            challenge_id=receipt.optional("challengeId", fields.filled_text),
            accepted_cumulative=receipt.require("acceptedCumulative", fields.units),
            spent=receipt.require("spent", fields.units),
            idle_timeout_seconds=receipt.require("idleTimeoutSeconds", fields.integer(1, MAX_IDLE_TIMEOUT)),
            tx_hash=receipt.optional("txHash", fields.filled_text),
            refunded=receipt.optional("refunded", fields.units),
            retainer=None if extension is None else ReceiptExtension.from_json(extension),
        )


class _Metered(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """The object under ``retainer.metered``. As in all three, members are in RFC 8785's order, and None is left out."""

    amount: str
    charged: bool
    latency_ms: int
    request_digest: str
    response_digest: str
    sequence: int
    status: int
    term: str | None = None
    units: str
    usage_hash: str


class _Extension(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """The object under ``retainer``."""

    credited: str | None = None
    metered: _Metered | None = None
    operator: str
    remaining: str
    signature: str | None = None
    state: str
    version: str


class _Message(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """The draft's object."""

    accepted_cumulative: str
    challenge_id: str | None = None
    idle_timeout_seconds: int
    intent: str
    method: str
    reference: str
    refunded: str | None = None
    retainer: _Extension | None = None
    spent: str
    status: str
    timestamp: str
    tx_hash: str | None = None


def _message(receipt: Receipt) -> _Message:
    extension = receipt.retainer
    return _Message(
        accepted_cumulative=str(receipt.accepted_cumulative),
        challenge_id=receipt.challenge_id,
        idle_timeout_seconds=receipt.idle_timeout_seconds,
        intent=INTENT,
        method=METHOD,
        reference=str(receipt.reference),
        refunded=None if receipt.refunded is None else str(receipt.refunded),
        retainer=None if extension is None else _extension(extension),
        spent=str(receipt.spent),
        status=_STATUS,
        timestamp=receipt.timestamp,
        tx_hash=receipt.tx_hash,
    )


def _extension(extension: ReceiptExtension) -> _Extension:
    return _Extension(
        credited=None if extension.credited is None else str(extension.credited),
        metered=None if extension.metered is None else _metered(extension.metered),
        operator=str(extension.operator),
        remaining=str(extension.remaining),
        signature=None if extension.signature is None else str(extension.signature),
        state=str(extension.state),
        version=RECEIPT_VERSION,
    )


def _metered(details: MeteredDetails) -> _Metered:
    return _Metered(
        amount=str(details.amount),
        charged=details.charged,
        latency_ms=details.latency_ms,
        request_digest=details.request_digest,
        response_digest=details.response_digest,
        sequence=details.sequence,
        status=details.status,
        term=details.term,
        units=str(details.units),
        usage_hash=details.usage_hash,
    )


def sign_receipt(receipt: Receipt, signer: Signer) -> Receipt:
    """The receipt with the operator's signature; SignatureError when ``signer`` is not the operator it names."""
    extension = _extension_for(receipt, signer)
    signature = signer.sign_message(receipt_message(receipt))
    return replace(receipt, retainer=replace(extension, signature=signature))


def signed_header(receipt: Receipt, signer: Signer) -> str:
    """The ``Payment-Receipt`` value of a receipt not signed yet, as of ``sign_receipt``, whose text is made once."""
    _extension_for(receipt, signer)
    text = canonical_text(_message(receipt))
    signature = signer.sign_message(_DOMAIN + text)
    # In a text a quotation mark is escaped, so this is the member's name: the signature's place is right before it.
    at = text.rindex(b'"state":')
    return encode_base64url(b'%b"signature":"%b",%b' % (text[:at], str(signature).encode(), text[at:]))


def _extension_for(receipt: Receipt, signer: Signer) -> ReceiptExtension:
    extension = receipt.retainer
    if extension is None or extension.operator != signer.pubkey():
        raise SignatureError("a receipt is signed by the operator named in its retainer part")
    return extension


def verify_receipt(receipt: Receipt, operator: Pubkey) -> bool:
    """Whether ``operator``, as the session's account names it, signed every field of this receipt."""
    extension = receipt.retainer
    if extension is None or extension.signature is None or extension.operator != operator:
        return False
    return extension.signature.verify(operator, receipt_message(receipt))


def receipt_message(receipt: Receipt) -> bytes:
    """What is signed: a domain, then the canonical JSON of the receipt without its signature."""
    unsigned = None if receipt.retainer is None else replace(receipt.retainer, signature=None)
    return _DOMAIN + canonical_text(_message(replace(receipt, retainer=unsigned)))


def receipt_header(receipt: Receipt) -> str:
    """The ``Payment-Receipt`` value."""
    return encode_base64url(canonical_text(_message(receipt)))


def parse_receipt(value: str) -> Receipt:
    """Read a ``Payment-Receipt`` value; MessageError names the bad field. No signature covers unknown fields."""
    if len(value) > MAX_CREDENTIAL_BYTES:
        raise MessageError(f"Payment-Receipt is longer than {MAX_CREDENTIAL_BYTES} bytes")
    return Receipt.from_json(read_json(decode_base64url(value.strip(" \t"), "the receipt"), "the receipt"))
