"""A session as people and programs look at it: the client's own books, and the chain where it has been asked."""

from retainer.channels.channel import Channel
from retainer.protocol.amounts import BaseUnits, requests_left
from retainer.protocol.session import SessionAccount, SessionState, user_state
from retainer.protocol.tokens import token_symbol
from retainer.protocol.views import SessionView, TokenView


def view_of(channel: Channel, account: SessionAccount | None, now: int) -> SessionView:
    """The session at ``now`` (Unix seconds). Deposit and state are the chain's where ``account`` is at hand.

    ``spent`` and ``requests_made`` count what this client holds receipts for.
    """
    request, settlement = channel.offer.request, channel.settlement
    terms = request.retainer
    deposit = account.deposit if account else channel.deposit
    spent = settlement.settled if settlement else channel.book.spent
    remaining = BaseUnits(0) if settlement else BaseUnits(deposit - spent)
    return SessionView(
        session_id=channel.session_id,
        offer_id=terms.offer_id if terms else channel.offer.challenge.realm,
        agent=channel.payer,
        provider=request.recipient,
        operator=channel.offer.operator,
        token=TokenView(request.currency, token_symbol(request.currency), request.decimals),
        deposit=deposit,
        remaining=remaining,
        spent=spent,
        price_per_request=channel.price,
        requests_made=channel.book.requests,
        requests_left=requests_left(remaining, channel.price),
        started_at=account.opened_at if account else channel.created_at,
        expires_at=channel.offer.expires_at or None,
        sla=terms.sla if terms else None,
        state=_state(channel, account, now),
        creation_signature=channel.creation_signature,
        pda=channel.address,
        metadata=_metadata(channel),
        anchor_on_chain=request.anchor_on_chain,
        settled=settlement.settled if settlement else None,
        refund=settlement.refunded if settlement else None,
        settlement_signature=settlement.signature or None if settlement else None,
    )


def _state(channel: Channel, account: SessionAccount | None, now: int) -> SessionState:
    if channel.state in (SessionState.PENDING, SessionState.CLOSING, SessionState.REFUNDED, SessionState.ABANDONED):
        return channel.state
    if account is not None:
        return user_state(account, spent=channel.book.spent, price=channel.price, now=now)
    if channel.offer.expires_at and now >= channel.offer.expires_at:
        return SessionState.EXPIRED
    enough = channel.deposit - channel.book.spent >= max(channel.price, 1)
    return SessionState.ACTIVE if enough else SessionState.DEPLETED


def _metadata(channel: Channel) -> dict[str, str]:
    told = {
        "resource": channel.offer.url,
        "realm": channel.offer.challenge.realm,
        "description": channel.offer.request.description,
        "dispute": channel.dispute,
    }
    return {name: text for name, text in told.items() if text}
