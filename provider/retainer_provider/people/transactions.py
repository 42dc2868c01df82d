"""What a wallet is given to sign: an opening or a top-up as an unsigned transaction. Pure."""

from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction

from retainer.protocol.actions import OpenAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import MessageError
from retainer.protocol.instructions import OpenWithTermsParams, open_with_terms, top_up
from retainer.protocol.offers import SessionRequest
from retainer.protocol.pda import SessionSeeds, derive_ata, derive_session
from retainer_provider.books.records import SessionRecord
from retainer_provider.offers import Offer


def seeds_of(request: SessionRequest, payer: Pubkey, salt: int) -> SessionSeeds:
    """What an invoiced session's address derives from; MessageError for a challenge that opens no metered session."""
    if request.operator is None or request.recent_slot is None:
        raise MessageError("the challenge opens no metered session")
    return SessionSeeds(payer, request.recipient, request.currency, request.operator, salt, request.recent_slot)


def opening_action(
    request: SessionRequest, payer: Pubkey, salt: int, deposit: int, transaction: bytes | None = None
) -> OpenAction:
    """The opening that an invoice stands for. Without a transaction it is what the account on chain is held against."""
    seeds = seeds_of(request, payer, salt)
    session, _ = derive_session(seeds, request.channel_program)
    if request.grace_period_seconds is None:
        raise MessageError("the challenge names no grace period")
    return OpenAction(
        channel_id=session,
        payer=payer,
        payee=seeds.payee,
        mint=seeds.mint,
        authorized_signer=seeds.authorized_signer,
        salt=salt,
        deposit=BaseUnits(deposit),
        grace_period=request.grace_period_seconds,
        open_slot=seeds.open_slot,
        transaction=transaction,
        # Of a deposit that its wallet sent, only the address is known.
        signature=Signature.default() if transaction is None else None,
    )


def open_instruction(
    request: SessionRequest, offer: Offer, payer: Pubkey, *, rent_payer: Pubkey, salt: int, deposit: int
) -> Instruction:
    """``open_with_terms`` on the terms of the invoice's challenge."""
    action, terms = opening_action(request, payer, salt, deposit), request.retainer
    if terms is None:
        raise MessageError("the challenge has no terms to commit")
    params = OpenWithTermsParams(
        payer=payer,
        rent_payer=rent_payer,
        payee=action.payee,
        mint=action.mint,
        authorized_signer=action.authorized_signer,
        salt=salt,
        deposit=deposit,
        grace_period=action.grace_period,
        open_slot=action.open_slot,
        payer_token=derive_ata(payer, action.mint, offer.token_program),
        token_program=offer.token_program,
        operator=terms.operator,
        price_per_unit=terms.price,
        expires_at=terms.expires_at,
        sla_hash=terms.sla_hash,
    )
    return open_with_terms(params, request.channel_program)


def top_up_instruction(record: SessionRecord, amount: int, program_id: Pubkey) -> Instruction:
    """Add to a session's deposit, from its payer's own token account."""
    return top_up(
        payer=record.payer,
        session=Pubkey.from_string(record.session_id),
        payer_token=derive_ata(record.payer, record.mint, record.token_program),
        escrow=record.escrow,
        mint=record.mint,
        amount=amount,
        token_program=record.token_program,
        program_id=program_id,
    )


def unsigned(instruction: Instruction, fee_payer: Pubkey, blockhash: Hash) -> bytes:
    """The transaction with room for its signatures."""
    return bytes(Transaction.new_unsigned(Message.new_with_blockhash([instruction], fee_payer, blockhash)))
