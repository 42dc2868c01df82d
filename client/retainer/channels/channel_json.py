"""Sessions as JSON, for stores that outlive the process. What is written holds a bearer token: keep it private."""

import base64
from typing import Final

from solders.pubkey import Pubkey

from retainer.channels.book import Book, Span
from retainer.channels.channel import Authority, Channel, PendingTopUp, Settlement
from retainer.errors import StoreError
from retainer.flows.offers import Offer
from retainer.protocol import fields
from retainer.protocol.actions import Action, UseAction, VoucherAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import MAX_TRANSACTION_BYTES, MAX_UNITS
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.encoding import Json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.receipts import parse_receipt, receipt_header
from retainer.protocol.session import SessionState
from retainer.protocol.vouchers import SignedVoucher

VERSION: Final = "1"
_KNOWN: Final = frozenset(
    {
        *(
            "version",
            "method",
            "url",
            "credential",
            "payer",
            "deposit",
            "creationSignature",
            "createdAt",
            "state",
            "opening",
        ),
        *("transaction", "topUp", "book", "receipt", "dispute", "settlement", "spentBy"),
    }
)


def channel_to_json(channel: Channel) -> dict[str, Json]:
    """Everything that cannot be derived; challenge, proof and address travel in the credential that pays requests."""
    known = fields.present(
        {
            "version": VERSION,
            "method": channel.offer.method,
            "url": channel.offer.url,
            "credential": channel.pay_header(),
            "payer": str(channel.payer) if isinstance(channel.authority, SignedVoucher) else None,
            "deposit": str(channel.deposit),
            "creationSignature": channel.creation_signature,
            "createdAt": channel.created_at,
            "state": str(channel.state),
            "opening": channel.opening,
            "transaction": None if channel.transaction is None else base64.b64encode(channel.transaction).decode(),
            "topUp": None if channel.top_up is None else _top_up_to_json(channel.top_up),
            "book": _book_to_json(channel.book),
            "receipt": None if channel.receipt is None else receipt_header(channel.receipt),
            "dispute": channel.dispute,
            "settlement": None if channel.settlement is None else _settlement_to_json(channel.settlement),
            "spentBy": [[at, str(spent)] for at, spent in channel.spent_by],
        }
    )
    return {**channel.extra, **known}


def channel_from_json(value: object) -> Channel:
    """Read ``channel_to_json``'s form; StoreError says what is wrong with it."""
    try:
        return _read(Fields(value, "session"))
    except MessageError as error:
        raise StoreError(f"a kept session cannot be read: {error}") from None


def _read(kept: Fields) -> Channel:
    kept.require("version", fields.exactly(VERSION))
    credential = parse_authorization(kept.require("credential", fields.filled_text))
    payer, authority = _authority(credential.action, kept)
    settlement, top_up = kept.inside_optional("settlement"), kept.inside_optional("topUp")
    receipt = kept.optional("receipt", fields.filled_text)
    deposit, created_at = kept.require("deposit", fields.units), kept.require("createdAt", fields.integer())
    return Channel(
        address=credential.action.channel_id,
        offer=Offer(
            method=kept.require("method", fields.filled_text),
            url=kept.require("url", fields.filled_text),
            challenge=credential.challenge,
            request=credential.challenge.session_request(),
        ),
        payer=payer,
        authority=authority,
        deposit=deposit,
        creation_signature=kept.optional("creationSignature", fields.filled_text),
        created_at=created_at,
        state=kept.require("state", fields.member(SessionState)),
        opening=kept.optional("opening", fields.filled_text),
        transaction=kept.optional("transaction", fields.base64_bytes(MAX_TRANSACTION_BYTES)),
        top_up=None if top_up is None else _read_top_up(top_up),
        book=_read_book(kept.inside("book")),
        receipt=None if receipt is None else parse_receipt(receipt),
        dispute=kept.optional("dispute", fields.filled_text),
        settlement=None if settlement is None else _read_settlement(settlement),
        spent_by=tuple(kept.optional("spentBy", fields.list_of(_mark)) or ()),
        extra={name: value for name, value in kept.items() if name not in _KNOWN},
    )


def _authority(action: Action, kept: Fields) -> tuple[Pubkey, Authority]:
    match action:
        case UseAction():
            return action.authentication.payer, action.authentication
        case VoucherAction():
            return kept.require("payer", fields.pubkey), action.signed
    raise MessageError("session.credential does not pay requests")


def _top_up_to_json(top_up: PendingTopUp) -> dict[str, Json]:
    return fields.present(
        {
            "credential": top_up.credential,
            "signature": top_up.signature,
            "lastValidBlockHeight": str(top_up.last_valid_block_height),
            "amount": str(top_up.amount),
            "total": str(top_up.total),
        }
    )


def _read_top_up(top_up: Fields) -> PendingTopUp:
    return PendingTopUp(
        credential=top_up.require("credential", fields.filled_text),
        signature=top_up.optional("signature", fields.filled_text),
        last_valid_block_height=top_up.require("lastValidBlockHeight", fields.units),
        amount=top_up.require("amount", fields.units),
        total=top_up.require("total", fields.units),
    )


def _book_to_json(book: Book) -> dict[str, Json]:
    return {
        "charged": str(book.charged),
        "spent": str(book.spent),
        "answered": [[first, last] for first, last in book.answered],
        "outstanding": {**book.outstanding},
        "units": {**book.units},
    }


def _read_book(book: Fields) -> Book:
    return Book(
        charged=book.require("charged", fields.units),
        spent=book.require("spent", fields.units),
        answered=book.require("answered", fields.list_of(_span)),
        outstanding=book.require("outstanding", fields.text_map),
        # A record that is older than this field knows of single units only.
        units=book.optional("units", fields.map_of(fields.integer(1, MAX_UNITS))) or {},
    )


def _span(value: object) -> Span:
    ends = fields.list_of(fields.integer(1))(value)
    if len(ends) != 2 or ends[0] > ends[1]:  # noqa: PLR2004  first and last
        raise fields.FieldValueError("must be a first and a last number")
    return ends[0], ends[1]


def _mark(value: object) -> tuple[int, BaseUnits]:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004  when and how much
        raise fields.FieldValueError("must be a time and an amount")
    return fields.integer()(value[0]), fields.units(value[1])


def _settlement_to_json(settlement: Settlement) -> dict[str, Json]:
    signature: dict[str, Json] = {"signature": settlement.signature} if settlement.signature else {}
    return signature | {
        "settled": str(settlement.settled),
        "refunded": str(settlement.refunded),
    }


def _read_settlement(settlement: Fields) -> Settlement:
    return Settlement(
        signature=settlement.optional("signature", fields.filled_text) or "",
        settled=settlement.require("settled", fields.units),
        refunded=settlement.require("refunded", fields.units),
    )
