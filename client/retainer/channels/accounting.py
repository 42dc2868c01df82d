"""Holding receipts against what was done: pure; every failure is a BookError that says what does not fit (F29)."""

from collections.abc import Mapping

from retainer.channels.book import BookError, Entry
from retainer.channels.channel import Channel, Settlement
from retainer.protocol.digests import body_digest
from retainer.protocol.receipts import MeteredDetails, Receipt, verify_receipt


def check_receipt(channel: Channel, receipt: Receipt) -> None:
    """Whether the session's operator says this about this session; BookError otherwise.

    Offers with retainer's terms promise signed receipts. A stock service signs none: then only the sums are held.
    """
    if receipt.reference != channel.address:
        raise BookError(f"it is about session {receipt.reference}")
    if receipt.challenge_id not in (None, channel.offer.challenge.id):
        raise BookError("it is about another challenge")
    if channel.offer.request.retainer and not verify_receipt(receipt, channel.offer.operator):
        raise BookError(f"operator {channel.offer.operator} did not sign it")
    if max(receipt.spent, receipt.accepted_cumulative) > channel.ceiling:
        what = f"deposit of {channel.deposit}" if channel.ceiling == channel.most else f"{channel.signed} signed for"
        raise BookError(f"it puts the total above the {what} base units")


def enter_receipt(channel: Channel, receipt: Receipt, *, key: str, digest: bytes) -> Channel:
    """The session after this receipt for the request sent under ``key``, whose ``request_digest`` is ``digest``."""
    check_receipt(channel, receipt)
    metered = receipt.retainer.metered if receipt.retainer else None
    if metered is None:
        if channel.offer.request.retainer:
            raise BookError("it does not say what the request cost")
        return channel.receipted(channel.book.totalled(key, receipt.spent, channel.price), receipt)
    _check_metered(metered, digest)
    entry = Entry(metered.sequence, metered.amount, receipt.spent)
    return channel.receipted(channel.book.receipted(key, entry, channel.price), receipt)


def _check_metered(metered: MeteredDetails, digest: bytes) -> None:
    if metered.request_digest != digest.hex():
        raise BookError("it is for another request")
    if metered.sequence < 1:
        raise BookError("requests are numbered from 1")
    if not metered.charged and metered.amount:
        raise BookError(f"it bills {metered.amount} base units for an answer that it calls uncharged")


def check_settlement(channel: Channel, settlement: Settlement) -> None:
    """Whether what was paid on chain is explained by the requests made, and the rest came back; BookError otherwise."""
    channel.book.require_explained(settlement.settled, channel.price)
    if settlement.settled + settlement.refunded < channel.deposit:
        raise BookError(f"only {settlement.refunded} base units came back")


def check_body(receipt: Receipt, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Whether the answer is the one that the receipt is for; BookError otherwise.

    A replay of an answer too large to be kept has another status and no body. And a digest stands for the bytes as
    they travelled, so a body that was decoded on its way here cannot be held against it.
    """
    metered = receipt.retainer.metered if receipt.retainer else None
    if metered is None or status != metered.status or "content-encoding" in headers:
        return
    check_digest(receipt, body_digest(body))


def check_digest(receipt: Receipt, digest: bytes) -> None:
    """Whether the receipt of a request is for the answer that has this digest; BookError otherwise."""
    metered = receipt.retainer.metered if receipt.retainer else None
    if metered is None or metered.response_digest != digest.hex():
        raise BookError("it is for another answer")
