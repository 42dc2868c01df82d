"""Building an opening: the signed transaction, the proof, and the credential that carries both."""

import secrets
from dataclasses import replace
from typing import Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.errors import OfferError
from retainer.flows.offers import Offer
from retainer.protocol.actions import OpenAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import SessionProof, proof_message
from retainer.protocol.constants import MAX_TRANSACTION_BYTES, PROGRAM_ID
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.instructions import OpenParams, OpenWithTermsParams, open_session, open_with_terms
from retainer.protocol.pda import derive_ata, derive_session, derive_vault
from retainer.protocol.signing import Signer
from retainer.protocol.transfers import Transfer
from retainer.wallet import sign_transaction, sign_voucher_as

_SALT_BITS: Final = 64
_HIGHEST_BUMP: Final = 255


def build_opening(
    offer: Offer,
    signer: Signer,
    *,
    voucher_signer: Signer | None = None,
    deposit: BaseUnits,
    token_program: Pubkey,
    now: int,
    salt: int | None = None,
    self_sent: bool = False,
) -> Channel:
    """Sign the opening of ``deposit`` base units for an offer that has passed the policy: a session that is PENDING.

    In voucher mode ``voucher_signer``, else the payer, signs its vouchers, the first one over nothing. A sponsor's
    signature is left for the service to add.

    ``salt`` (u64) tells sessions apart that open in the same slot; by default a random one that is cheap on chain.
    With ``self_sent`` the credential names the transaction's signature instead of carrying it, for a caller that sends
    it to the chain itself.
    """
    request, payer = offer.request, signer.pubkey()
    if request.recent_blockhash is None or request.recent_slot is None or request.grace_period_seconds is None:
        raise OfferError("the challenge has no blockhash, slot and grace period to open a session with")
    authorizer = (voucher_signer or signer) if offer.takes_vouchers else None
    sponsor = None if self_sent else offer.sponsor
    params = OpenParams(
        payer=payer,
        rent_payer=sponsor or payer,
        payee=request.recipient,
        mint=request.currency,
        authorized_signer=offer.operator if authorizer is None else authorizer.pubkey(),
        salt=0 if salt is None else salt,
        deposit=deposit,
        grace_period=request.grace_period_seconds,
        open_slot=request.recent_slot,
        payer_token=derive_ata(payer, request.currency, token_program),
        token_program=token_program,
    )
    stock = replace(params, salt=cheap_salt(params, request.channel_program)) if salt is None else params
    address, _ = derive_session(stock.seeds, request.channel_program)
    instruction = _instruction(stock, address, offer)
    transaction, signature = sign_transaction(signer, [instruction], request.recent_blockhash, sponsor=sponsor)
    if len(transaction) > MAX_TRANSACTION_BYTES:
        raise OfferError(f"the opening needs {len(transaction)} bytes; a transaction has {MAX_TRANSACTION_BYTES}")
    proof = _prove(offer, address, signer) if authorizer is None else None
    action = OpenAction(
        channel_id=address,
        payer=payer,
        payee=stock.payee,
        mint=stock.mint,
        authorized_signer=stock.authorized_signer,
        salt=stock.salt,
        deposit=deposit,
        grace_period=stock.grace_period,
        open_slot=stock.open_slot,
        transaction=None if self_sent else transaction,
        signature=signature if self_sent else None,
        authentication=proof,
    )
    return Channel(
        address=address,
        offer=offer,
        payer=payer,
        authority=proof or sign_voucher_as(authorizer or signer, address, BaseUnits(0)),
        deposit=deposit,
        creation_signature=None if signature is None else str(signature),
        created_at=now,
        opening=authorization_header(Credential(offer.challenge, action)),
        transaction=transaction if self_sent else None,
    )


def _instruction(stock: OpenParams, address: Pubkey, offer: Offer) -> Instruction:
    request = offer.request
    if not request.anchor_on_chain:
        return Transfer(
            session=address,
            sender=stock.payer,
            recipient=stock.payee,
            mint=stock.mint,
            decimals=request.decimals,
            token_program=stock.token_program,
            amount=BaseUnits(stock.deposit),
        ).instruction()
    if request.retainer:
        return open_with_terms(_with_terms(stock, offer), request.channel_program)
    return open_session(stock, request.channel_program)


def cheap_salt(params: OpenParams, program_id: Pubkey = PROGRAM_ID) -> int:
    """A random salt at which the session of ``params`` and its vault have the highest bump.

    The program looks for both bumps from 255 down, and each one that it has to pass over costs the opening 1,500
    compute units. A quarter of all salts need no search.
    """
    while True:
        salt = secrets.randbits(_SALT_BITS)
        address, bump = derive_session(replace(params, salt=salt).seeds, program_id)
        if bump == derive_vault(address, program_id)[1] == _HIGHEST_BUMP:
            return salt


def _with_terms(stock: OpenParams, offer: Offer) -> OpenWithTermsParams:
    terms = offer.request.retainer
    if terms is None:
        raise OfferError("the offer has no terms to commit")
    return OpenWithTermsParams(
        **{name: getattr(stock, name) for name in OpenParams.__slots__},
        operator=terms.operator,
        price_per_unit=terms.price,
        expires_at=terms.expires_at,
        sla_hash=terms.sla_hash,
    )


def _prove(offer: Offer, address: Pubkey, signer: Signer) -> SessionProof:
    payer = signer.pubkey()
    signature = signer.sign_message(proof_message(offer.challenge.id, address, payer))
    return SessionProof(offer.challenge.id, payer, signature)
