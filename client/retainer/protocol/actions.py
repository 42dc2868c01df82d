"""The five things an agent can ask for in a credential: open, use, voucher, topUp, close."""

import base64
from dataclasses import dataclass
from typing import Final, TypeAlias

from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol import fields
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import SessionProof, proof_from_json, proof_to_json
from retainer.protocol.constants import MAX_IDLE_TIMEOUT, MAX_TRANSACTION_BYTES
from retainer.protocol.encoding import Json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.pda import SessionSeeds
from retainer.protocol.vouchers import SignedVoucher, voucher_from_json, voucher_to_json

_U32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAction:
    """A deposit: either the signed ``transaction`` for the provider to send, or the ``signature`` of one already sent.

    The second is retainer's extension, under ``capabilities.retainer.signature``; a stock provider refuses it.
    """

    channel_id: Pubkey
    payer: Pubkey
    payee: Pubkey
    mint: Pubkey
    authorized_signer: Pubkey
    salt: int
    deposit: BaseUnits
    grace_period: int
    open_slot: int
    transaction: bytes | None = None
    signature: Signature | None = None
    idle_timeout_seconds: int | None = None
    authentication: SessionProof | None = None

    def __post_init__(self) -> None:
        if (self.transaction is None) == (self.signature is None):
            raise MessageError("payload needs either transaction or capabilities.retainer.signature, not both")

    @property
    def seeds(self) -> SessionSeeds:
        """What ``channel_id`` must derive from."""
        return SessionSeeds(self.payer, self.payee, self.mint, self.authorized_signer, self.salt, self.open_slot)


@dataclass(frozen=True, slots=True)
class UseAction:
    """A metered request (metered mode)."""

    channel_id: Pubkey
    authentication: SessionProof


@dataclass(frozen=True, slots=True)
class VoucherAction:
    """A request paid by a voucher (voucher mode)."""

    channel_id: Pubkey
    signed: SignedVoucher


@dataclass(frozen=True, slots=True)
class TopUpAction:
    """More deposit, by a signed transaction for the provider to send."""

    channel_id: Pubkey
    additional_amount: BaseUnits
    transaction: bytes


@dataclass(frozen=True, slots=True)
class CloseAction:
    """Close and refund; proven by ``authentication`` in metered mode, by ``voucher`` in voucher mode, never by both."""

    channel_id: Pubkey
    authentication: SessionProof | None = None
    voucher: SignedVoucher | None = None

    def __post_init__(self) -> None:
        if (self.authentication is None) == (self.voucher is None):
            raise MessageError("payload needs either authentication or voucher, not both")


Action: TypeAlias = OpenAction | UseAction | VoucherAction | TopUpAction | CloseAction


def action_to_json(action: Action) -> dict[str, Json]:
    """The draft's payload object."""
    channel = str(action.channel_id)
    match action:
        case OpenAction():
            return _open_to_json(action)
        case UseAction():
            return {"action": "use", "channelId": channel, "authentication": proof_to_json(action.authentication)}
        case VoucherAction():
            return {"action": "voucher", "channelId": channel, "voucher": voucher_to_json(action.signed)}
        case TopUpAction():
            return {
                "action": "topUp",
                "channelId": channel,
                "additionalAmount": str(action.additional_amount),
                "transaction": _base64(action.transaction),
            }
        case CloseAction():
            return fields.present(
                {
                    "action": "close",
                    "channelId": channel,
                    "authentication": _proof(action.authentication),
                    "voucher": None if action.voucher is None else voucher_to_json(action.voucher),
                }
            )


def action_from_json(payload: Fields) -> Action:
    """Read the draft's payload object; MessageError names the bad field."""
    name = payload.require("action", fields.exactly("open", "use", "voucher", "topUp", "close"))
    channel_id = payload.require("channelId", fields.pubkey)
    if name == "open":
        return _open_from_json(payload, channel_id)
    if name == "use":
        return UseAction(channel_id, proof_from_json(payload.inside("authentication")))
    if name == "voucher":
        return VoucherAction(channel_id, _voucher_for(channel_id, payload.inside("voucher")))
    if name == "topUp":
        return TopUpAction(
            channel_id,
            additional_amount=payload.require("additionalAmount", fields.units),
            transaction=payload.require("transaction", fields.base64_bytes(MAX_TRANSACTION_BYTES)),
        )
    proof, voucher = payload.inside_optional("authentication"), payload.inside_optional("voucher")
    return CloseAction(
        channel_id,
        authentication=None if proof is None else proof_from_json(proof),
        voucher=None if voucher is None else _voucher_for(channel_id, voucher),
    )


def _open_to_json(action: OpenAction) -> dict[str, Json]:
    return fields.present(
        {
            "action": "open",
            "channelId": str(action.channel_id),
            "payer": str(action.payer),
            "payee": str(action.payee),
            "mint": str(action.mint),
            "authorizedSigner": str(action.authorized_signer),
            "salt": str(action.salt),
            "depositAmount": str(action.deposit),
            "gracePeriodSeconds": action.grace_period,
            "openSlot": str(action.open_slot),
            "idleTimeoutSeconds": action.idle_timeout_seconds,
            "authentication": _proof(action.authentication),
            "transaction": None if action.transaction is None else _base64(action.transaction),
            "capabilities": _capabilities(action.signature),
        }
    )


def _open_from_json(payload: Fields, channel_id: Pubkey) -> OpenAction:
    payload.refuse("bump", "must be absent: the address is derived, and a bump taken from here could hide a wrong one")
    payload.refuse("voucher", "must be absent: the first voucher comes with the first request")
    payload.optional("distributionSplits", fields.no_splits)
    payload.inside_optional("authorizationPolicy")
    proof = payload.inside_optional("authentication")
    capabilities = payload.inside_optional("capabilities")
    extension = None if capabilities is None else capabilities.inside_optional("retainer")
    return OpenAction(
        channel_id=channel_id,
        payer=payload.require("payer", fields.pubkey),
        payee=payload.require("payee", fields.pubkey),
        mint=payload.require("mint", fields.pubkey),
        authorized_signer=payload.require("authorizedSigner", fields.pubkey),
        salt=payload.require("salt", fields.units),
        deposit=payload.require("depositAmount", fields.units),
        grace_period=payload.require("gracePeriodSeconds", fields.integer(1, _U32_MAX)),
        open_slot=payload.require("openSlot", fields.units),
        transaction=payload.optional("transaction", fields.base64_bytes(MAX_TRANSACTION_BYTES)),
        signature=None if extension is None else extension.optional("signature", fields.signature),
        idle_timeout_seconds=payload.optional("idleTimeoutSeconds", fields.integer(1, MAX_IDLE_TIMEOUT)),
        authentication=None if proof is None else proof_from_json(proof),
    )


def _voucher_for(channel_id: Pubkey, voucher: Fields) -> SignedVoucher:
    signed = voucher_from_json(voucher)
    # A request is routed by the outer id and paid by the inner one: they must not differ.
    if signed.voucher.channel_id != channel_id:
        raise MessageError(f"{voucher.path}.voucher.channelId is not the channelId of the payload")
    return signed


def _proof(authentication: SessionProof | None) -> dict[str, Json] | None:
    return None if authentication is None else proof_to_json(authentication)


def _capabilities(signature: Signature | None) -> dict[str, Json] | None:
    return None if signature is None else {"retainer": {"signature": str(signature)}}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
