"""What a challenge asks for: the `request` object of the draft, with retainer's terms beside it."""

from dataclasses import dataclass
from typing import Final

from solders.hash import Hash
from solders.pubkey import Pubkey

from retainer.protocol import fields
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import (
    JSON_INTEGER_MAX,
    MAX_IDLE_TIMEOUT,
    MAX_UNITS,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
    Network,
)
from retainer.protocol.encoding import Json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.session import VoucherSigner
from retainer.protocol.sla import SlaTerms, terms_hash

RETAINER_VERSION: Final = "1"
_MAX_TOKEN_DECIMALS: Final = 9
_U32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainerTerms:
    """What ``open_with_terms`` commits on chain, under ``methodDetails.retainer``; ``expires_at`` 0 means never.

    ``max_units`` is about the route that was asked, and committed nowhere: the most units that one request there costs.
    """

    offer_id: str
    operator: Pubkey
    price: BaseUnits
    expires_at: int = 0
    sla: SlaTerms | None = None
    max_units: int = 1

    @property
    def sla_hash(self) -> bytes:
        """The 32 bytes to commit; zero when there are no SLA terms."""
        return terms_hash(self.sla)

    def to_json(self) -> dict[str, Json]:
        """The object as it stands in the challenge."""
        return fields.present(
            {
                "version": RETAINER_VERSION,
                "offerId": self.offer_id,
                "operator": str(self.operator),
                "pricePerUnit": str(self.price),
                "expiresAt": self.expires_at,
                "maxUnits": self.max_units if self.max_units > 1 else None,
                "slaTerms": None if self.sla is None else self.sla.to_json(),
                "slaHash": self.sla_hash.hex(),
            }
        )

    @classmethod
    def from_json(cls, terms: Fields) -> "RetainerTerms":
        """Read the object; MessageError names the bad field, also when the hash is not that of the terms shown."""
        terms.require("version", fields.exactly(RETAINER_VERSION))
        read = cls(
            offer_id=terms.require("offerId", fields.filled_text),
            operator=terms.require("operator", fields.pubkey),
            price=terms.require("pricePerUnit", fields.units),
            expires_at=terms.require("expiresAt", fields.integer()),
            max_units=terms.optional("maxUnits", fields.integer(1, MAX_UNITS)) or 1,
            sla=terms.optional("slaTerms", lambda shown: SlaTerms.from_json(shown, f"{terms.path}.slaTerms")),
        )
        if terms.require("slaHash", fields.hex_digest) != read.sla_hash.hex():
            raise MessageError(f"{terms.path}.slaHash is not the hash of the terms beside it")
        return read


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """The draft's session request; ``amount`` is the price per unit, times are seconds, amounts base units.

    A new channel carries blockhash, slot and grace period; a resumed one carries ``channel_id`` and its idle timeout.
    Without ``anchor_on_chain`` there is no escrow: the deposit is a transfer to the recipient, who holds the money.
    """

    amount: BaseUnits
    currency: Pubkey
    recipient: Pubkey
    network: Network
    channel_program: Pubkey
    decimals: int
    unit_type: str | None = None
    suggested_deposit: BaseUnits | None = None
    minimum_deposit: BaseUnits | None = None
    description: str | None = None
    external_id: str | None = None
    recent_blockhash: Hash | None = None
    recent_slot: int | None = None
    channel_id: Pubkey | None = None
    token_program: Pubkey | None = None
    fee_payer: bool = False
    fee_payer_key: Pubkey | None = None
    voucher_signer: VoucherSigner = VoucherSigner.CLIENT
    operator: Pubkey | None = None
    grace_period_seconds: int | None = None
    idle_timeout_seconds: int | None = None
    idle_timeout_options: tuple[int, ...] | None = None
    min_voucher_delta: BaseUnits | None = None
    ttl_seconds: int | None = None
    anchor_on_chain: bool = True
    retainer: RetainerTerms | None = None

    def __post_init__(self) -> None:
        details = "request.methodDetails"
        _require_custody(self, details)
        if self.channel_id is None:
            required: dict[str, object] = {
                "recentBlockhash": self.recent_blockhash,
                "recentSlot": self.recent_slot,
                "gracePeriodSeconds": self.grace_period_seconds,
            }
            refused: dict[str, object] = {"idleTimeoutSeconds": self.idle_timeout_seconds}
        else:
            required = {"idleTimeoutSeconds": self.idle_timeout_seconds}
            refused = {
                "recentBlockhash": self.recent_blockhash,
                "recentSlot": self.recent_slot,
                "idleTimeoutOptionsSeconds": self.idle_timeout_options,
            }
        kind = "a new channel" if self.channel_id is None else "a resumed channel"
        for name, value in required.items():
            if value is None:
                raise MessageError(f"{details}.{name} is missing: {kind} needs it")
        for name, value in refused.items():
            if value is not None:
                raise MessageError(f"{details}.{name} must be absent for {kind}")
        if self.fee_payer and self.fee_payer_key is None:
            raise MessageError(f"{details}.feePayerKey is missing: feePayer is true")
        if self.voucher_signer is VoucherSigner.OPERATOR and self.operator is None:
            raise MessageError(f"{details}.operator is missing: voucherSigner is operator")
        if self.token_program not in (None, TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID):
            raise MessageError(f"{details}.tokenProgram must be the SPL Token or the Token-2022 program")
        options = self.idle_timeout_options
        if options is not None and (not options or list(options) != sorted(set(options))):
            raise MessageError(f"{details}.idleTimeoutOptionsSeconds must be strictly increasing and not empty")

    def to_json(self) -> dict[str, Json]:
        """The draft's object; what is absent is left out."""
        return fields.present(
            {
                "amount": str(self.amount),
                "currency": str(self.currency),
                "recipient": str(self.recipient),
                "unitType": self.unit_type,
                "suggestedDeposit": _text(self.suggested_deposit),
                "minimumDeposit": _text(self.minimum_deposit),
                "description": self.description,
                "externalId": self.external_id,
                "methodDetails": self._details(),
            }
        )

    def _details(self) -> dict[str, Json]:
        options = self.idle_timeout_options
        return fields.present(
            {
                "network": str(self.network),
                "channelProgram": str(self.channel_program),
                "channelId": _text(self.channel_id),
                "recentBlockhash": _text(self.recent_blockhash),
                "recentSlot": _text(self.recent_slot),
                "decimals": self.decimals,
                "tokenProgram": _text(self.token_program),
                "feePayer": self.fee_payer,
                "feePayerKey": _text(self.fee_payer_key),
                "voucherSigner": str(self.voucher_signer),
                "operator": _text(self.operator),
                "minVoucherDelta": _text(self.min_voucher_delta),
                "ttlSeconds": self.ttl_seconds,
                "idleTimeoutOptionsSeconds": None if options is None else [*options],
                "idleTimeoutSeconds": self.idle_timeout_seconds,
                "gracePeriodSeconds": self.grace_period_seconds,
                "anchorOnChain": None if self.anchor_on_chain else False,
                "retainer": None if self.retainer is None else self.retainer.to_json(),
            }
        )

    @classmethod
    def from_json(cls, value: object) -> "SessionRequest":
        """Read the draft's object, unknown fields ignored; MessageError names the bad field."""
        request = Fields(value, "request")
        details = request.inside("methodDetails")
        details.optional("distributionSplits", fields.no_splits)
        retainer = details.inside_optional("retainer")
        idle = fields.integer(1, MAX_IDLE_TIMEOUT)
        return cls(
            amount=request.require("amount", fields.units),
            currency=request.require("currency", fields.pubkey),
            recipient=request.require("recipient", fields.pubkey),
            unit_type=request.optional("unitType", fields.text),
            suggested_deposit=request.optional("suggestedDeposit", fields.units),
            minimum_deposit=request.optional("minimumDeposit", fields.units),
            description=request.optional("description", fields.text),
            external_id=request.optional("externalId", fields.text),
            network=details.require("network", fields.member(Network)),
            channel_program=details.require("channelProgram", fields.pubkey),
            channel_id=details.optional("channelId", fields.pubkey),
            recent_blockhash=details.optional("recentBlockhash", fields.blockhash),
            recent_slot=details.optional("recentSlot", fields.units),
            decimals=details.require("decimals", fields.integer(0, _MAX_TOKEN_DECIMALS)),
            token_program=details.optional("tokenProgram", fields.pubkey),
            fee_payer=details.optional("feePayer", fields.flag) or False,
            fee_payer_key=details.optional("feePayerKey", fields.pubkey),
            voucher_signer=details.optional("voucherSigner", fields.member(VoucherSigner)) or VoucherSigner.CLIENT,
            operator=details.optional("operator", fields.pubkey),
            min_voucher_delta=details.optional("minVoucherDelta", fields.units),
            ttl_seconds=details.optional("ttlSeconds", fields.integer(0, JSON_INTEGER_MAX)),
            idle_timeout_options=details.optional("idleTimeoutOptionsSeconds", fields.list_of(idle)),
            idle_timeout_seconds=details.optional("idleTimeoutSeconds", idle),
            grace_period_seconds=details.optional("gracePeriodSeconds", fields.integer(1, _U32_MAX)),
            anchor_on_chain=details.optional("anchorOnChain", fields.flag) is not False,
            retainer=None if retainer is None else RetainerTerms.from_json(retainer),
        )


def _require_custody(request: SessionRequest, details: str) -> None:
    # A voucher limits what an escrow pays out; without one, nothing would hold the recipient to it.
    metered = request.voucher_signer is VoucherSigner.OPERATOR
    if not request.anchor_on_chain and (not metered or request.fee_payer):
        raise MessageError(f"{details}.anchorOnChain is false: voucherSigner must be operator, feePayer false")


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
