"""Receipts: the provider's statement about one request or lifecycle call, signed by the session's operator."""

from dataclasses import dataclass, replace
from typing import Final

from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol import fields
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import INTENT, MAX_CREDENTIAL_BYTES, MAX_IDLE_TIMEOUT, METHOD
from retainer.protocol.encoding import Json, canonical_json, decode_base64url, encode_base64url, read_json
from retainer.protocol.errors import MessageError, SignatureError
from retainer.protocol.fields import Fields
from retainer.protocol.session import SessionState
from retainer.protocol.signing import Signer
from retainer.protocol.timestamps import parse_timestamp

RECEIPT_VERSION: Final = "1"

_STATUS: Final = "success"
# Keeps receipts apart from anything else the operator's key signs: vouchers, transactions.
_DOMAIN: Final = b"retainer-receipt-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredDetails:
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

    def to_json(self) -> dict[str, Json]:
        """The object under ``retainer.metered``."""
        return fields.present(
            {
                "sequence": self.sequence,
                "amount": str(self.amount),
                "units": str(self.units),
                "charged": self.charged,
                "term": self.term,
                "status": self.status,
                "latencyMs": self.latency_ms,
                "requestDigest": self.request_digest,
                "responseDigest": self.response_digest,
                "usageHash": self.usage_hash,
            }
        )

    @classmethod
    def from_json(cls, metered: Fields) -> "MeteredDetails":
        """Read ``to_json``'s form; MessageError names the bad field."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptExtension:
    """What retainer adds: the session's state, what is left, and the operator's signature over the whole receipt.

    ``credited`` comes with a close: what was charged and given back because availability fell short, in base units.
    """

    state: SessionState
    remaining: BaseUnits
    operator: Pubkey
    metered: MeteredDetails | None = None
    credited: BaseUnits | None = None
    signature: Signature | None = None

    def to_json(self) -> dict[str, Json]:
        """The object under ``retainer``."""
        return fields.present(
            {
                "version": RECEIPT_VERSION,
                "state": str(self.state),
                "remaining": str(self.remaining),
                "operator": str(self.operator),
                "metered": None if self.metered is None else self.metered.to_json(),
                "credited": None if self.credited is None else str(self.credited),
                "signature": None if self.signature is None else str(self.signature),
            }
        )

    @classmethod
    def from_json(cls, extension: Fields) -> "ReceiptExtension":
        """Read ``to_json``'s form; MessageError names the bad field."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
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
        return fields.present(
            {
                "method": METHOD,
                "intent": INTENT,
                "status": _STATUS,
                "reference": str(self.reference),
                "timestamp": self.timestamp,
                "challengeId": self.challenge_id,
                "acceptedCumulative": str(self.accepted_cumulative),
                "spent": str(self.spent),
                "idleTimeoutSeconds": self.idle_timeout_seconds,
                "txHash": self.tx_hash,
                "refunded": None if self.refunded is None else str(self.refunded),
                "retainer": None if self.retainer is None else self.retainer.to_json(),
            }
        )

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


def sign_receipt(receipt: Receipt, signer: Signer) -> Receipt:
    """The receipt with the operator's signature; SignatureError when ``signer`` is not the operator it names."""
    extension = _extension_for(receipt, signer)
    signature = signer.sign_message(receipt_message(receipt))
    return replace(receipt, retainer=replace(extension, signature=signature))


def signed_header(receipt: Receipt, signer: Signer) -> str:
    """The ``Payment-Receipt`` value of a receipt not signed yet, as of ``sign_receipt``, whose text is made once."""
    extension = _extension_for(receipt, signer).to_json()
    text = receipt.to_json()
    signature = signer.sign_message(_DOMAIN + canonical_json(text))
    return encode_base64url(canonical_json({**text, "retainer": {**extension, "signature": str(signature)}}))


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
    return _DOMAIN + canonical_json(replace(receipt, retainer=unsigned).to_json())


def receipt_header(receipt: Receipt) -> str:
    """The ``Payment-Receipt`` value."""
    return encode_base64url(canonical_json(receipt.to_json()))


def parse_receipt(value: str) -> Receipt:
    """Read a ``Payment-Receipt`` value; MessageError names the bad field. No signature covers unknown fields."""
    if len(value) > MAX_CREDENTIAL_BYTES:
        raise MessageError(f"Payment-Receipt is longer than {MAX_CREDENTIAL_BYTES} bytes")
    return Receipt.from_json(read_json(decode_base64url(value.strip(" \t"), "the receipt"), "the receipt"))
