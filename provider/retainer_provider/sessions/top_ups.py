"""Judging a top-up, purely: what its transaction does, against the session in the books and the offer behind it."""

from retainer.protocol.actions import TopUpAction
from retainer.protocol.amounts import format_amount
from retainer.protocol.envelopes import open_envelope
from retainer.protocol.errors import TransactionError
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer.protocol.transactions import TopUpRequest, inspect_top_up
from retainer_provider.books.records import SessionRecord
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.sessions.deposits import Check, first_broken
from retainer_provider.sessions.refusals import Refusal
from retainer_provider.sessions.sponsoring import check_fee


def read_top_up(action: TopUpAction, identity: Identity) -> TopUpRequest | Refusal:
    """The one top-up of this session that the transaction holds; a refusal when it holds anything else."""
    program_id = identity.program_id
    try:
        return inspect_top_up(action.transaction, session=action.channel_id, program_id=program_id)
    except TransactionError as error:
        problem, reason = ProblemType.VERIFICATION_FAILED, str(error)
    try:
        if all(instruction.program_id != program_id for instruction in open_envelope(action.transaction).instructions):
            problem, reason = ProblemType.DEPOSIT_FOREIGN, f"it has no instruction of program {program_id}"
    except TransactionError:
        pass  # the first reason stands
    return Refusal(
        problem,
        f"The transaction is not a top-up of session {action.channel_id} as this service takes it: {reason}. "
        "Build it for this session.",
    )


def check_session(record: SessionRecord, now: int) -> Refusal | None:
    """Whether the session still takes money: not before it is open, and not after its end has begun (C26)."""
    state, session_id = record.state_at(now), record.session_id
    return first_broken(
        [
            Check(
                state is not SessionState.PENDING,
                ProblemType.DEPOSIT_UNCONFIRMED,
                f"The deposit of session {session_id} is not confirmed yet: send the credential that opened it again.",
            ),
            Check(
                state is not SessionState.EXPIRED,
                ProblemType.SESSION_EXPIRED,
                f"Session {session_id} has expired and takes no more money: close it and open another.",
            ),
            Check(
                state is not SessionState.CLOSING,
                ProblemType.SESSION_CLOSING,
                f"Session {session_id} is being closed and takes no more money: open another.",
            ),
            Check(
                state in (SessionState.ACTIVE, SessionState.DEPLETED),
                ProblemType.SESSION_CLOSED,
                f"Session {session_id} is closed: open another.",
            ),
        ]
    )


def check_top_up(
    top_up: TopUpRequest, action: TopUpAction, record: SessionRecord, identity: Identity
) -> Refusal | None:
    """A signed top-up: complete, of the session's own payer and token, and of the amount that the credential says."""
    return first_broken(
        [
            Check(
                top_up.payer == record.payer,
                ProblemType.VERIFICATION_FAILED,
                f"The top-up is {top_up.payer}'s, but session {record.session_id} belongs to {record.payer}: "
                "only its payer adds to it.",
            ),
            Check(
                (top_up.mint, top_up.token_program, top_up.escrow)
                == (record.mint, record.token_program, record.escrow),
                ProblemType.DEPOSIT_FOREIGN,
                f"The top-up pays another token or escrow than session {record.session_id} has: "
                f"pay mint {record.mint} into {record.escrow}.",
            ),
            *check_fee(top_up, identity),
            Check(
                0 < top_up.amount == action.additional_amount,
                ProblemType.DEPOSIT_TERMS_MISMATCH,
                f"The transaction adds {format_amount(top_up.amount, record.decimals)}, the credential says "
                f"{format_amount(action.additional_amount, record.decimals)}: name one amount above zero in both.",
            ),
        ]
    )


def check_limit(top_up: TopUpRequest, record: SessionRecord, offer: Offer | None, identity: Identity) -> Refusal | None:
    """Before money moves: whether the offer is still made, takes so much, and so little is worth a sponsored fee."""
    amount = top_up.amount
    least = 0 if offer is None or top_up.fee_payer != identity.sponsor else offer.minimum_deposit
    most = 0 if offer is None else offer.maximum_deposit
    return first_broken(
        [
            Check(
                offer is not None and offer.mint == record.mint,
                ProblemType.DEPOSIT_TERMS_MISMATCH,
                f"Offer {record.offer_id!r} of session {record.session_id} is no longer made: use up what is left, "
                "or close it and open another.",
            ),
            Check(
                record.deposit + amount <= most,
                ProblemType.DEPOSIT_TERMS_MISMATCH,
                f"The deposit would be {format_amount(record.deposit + amount, record.decimals)}, but this offer takes "
                f"at most {format_amount(most, record.decimals)}: add less.",
            ),
            Check(
                amount >= least,
                ProblemType.DEPOSIT_TOO_SMALL,
                f"A top-up is sponsored from {format_amount(least, record.decimals)} on: add more, or pay its fee.",
            ),
        ]
    )
