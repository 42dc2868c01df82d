"""Judging a deposit, purely. Three witnesses speak of it: the credential, the transaction and the account on chain.

Each is held against what was offered. Only the account decides: a transaction is a pointer, a credential is a claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from solders.pubkey import Pubkey

from retainer.protocol.actions import OpenAction
from retainer.protocol.amounts import format_amount
from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.envelopes import open_envelope
from retainer.protocol.errors import TransactionError
from retainer.protocol.layouts import TokenAccount
from retainer.protocol.offers import RetainerTerms, SessionRequest
from retainer.protocol.pda import SessionSeeds, derive_session
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount, VoucherSigner
from retainer.protocol.sla import NO_TERMS_HASH
from retainer.protocol.transactions import OpenRequest, inspect_open
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.sessions.refusals import Refusal

_INITIALIZED: Final = 1


class Check(NamedTuple):
    """Whether something holds, and what is answered when it does not."""

    holds: bool
    problem: ProblemType
    detail: str


@dataclass(frozen=True, slots=True)
class Demands:
    """What a deposit must be: the challenge that was echoed, in which every term is fixed, and the offer behind it."""

    identity: Identity
    offer: Offer
    request: SessionRequest
    terms: RetainerTerms

    def amount(self, units: int) -> str:
        """An amount of the offer's token for people."""
        return format_amount(units, self.offer.decimals)


@dataclass(frozen=True, slots=True)
class CommittedTerms:
    """What `open_with_terms` writes into the account; a stock `open` writes zeros."""

    price: int
    expires_at: int
    sla_hash: bytes


_NO_TERMS: Final = CommittedTerms(0, 0, NO_TERMS_HASH)


def check_offer(demands: Demands) -> Refusal | None:
    """A challenge is good for as long as it says; but not when the operator has since changed what it offers."""
    us, offer, request, terms = demands.identity, demands.offer, demands.request, demands.terms
    unchanged = (
        (request.channel_program, request.network, request.recipient) == (us.program_id, us.network, us.payee)
        and (request.voucher_signer, terms.operator) == (offer.voucher_signer, us.operator)
        and request.operator in (us.operator, None)
        and (request.currency, request.decimals, request.token_program)
        == (offer.mint, offer.decimals, offer.token_program)
        and (request.amount, terms.price, terms.sla) == (offer.price, offer.price, offer.sla)
        and (request.grace_period_seconds, request.minimum_deposit) == (offer.grace_period, offer.minimum_deposit)
        and request.anchor_on_chain == offer.anchor_on_chain
    )
    return first_broken(
        [
            Check(
                unchanged,
                ProblemType.CHALLENGE_EXPIRED,
                "The offer has changed since this challenge was issued: open the session with the fresh one.",
            )
        ]
    )


def check_credential(action: OpenAction, demands: Demands) -> Refusal | None:
    """The claim itself: it derives its channel id, and it claims what was offered."""
    derived, _ = derive_session(action.seeds, demands.identity.program_id)
    options = demands.request.idle_timeout_options or ()
    return first_broken(
        [
            *_offered(action.seeds, action.deposit, action.grace_period, demands),
            Check(
                derived == action.channel_id,
                ProblemType.VERIFICATION_FAILED,
                f"channelId is not the address these parameters derive under program {demands.identity.program_id}, "
                f"which is {derived}: derive it for the challenge's channelProgram.",
            ),
            Check(
                action.idle_timeout_seconds is None or action.idle_timeout_seconds in options,
                ProblemType.VERIFICATION_FAILED,
                f"The requested idle timeout was not one of the advertised options, which are {[*options]}: "
                "choose one, or leave idleTimeoutSeconds out.",
            ),
        ]
    )


def read_transaction(raw: bytes, demands: Demands) -> OpenRequest | Refusal:
    """The one opening that a transaction holds; a refusal when it holds anything else, or another program's."""
    program_id = demands.identity.program_id
    try:
        return inspect_open(raw, program_id=program_id)
    except TransactionError as error:
        problem, reason = ProblemType.VERIFICATION_FAILED, str(error)
    try:
        if all(instruction.program_id != program_id for instruction in open_envelope(raw).instructions):
            problem, reason = ProblemType.DEPOSIT_FOREIGN, f"it has no instruction of program {program_id}"
    except TransactionError:
        pass  # the first reason stands
    return Refusal(
        problem, f"The transaction is not an opening as this service takes it: {reason}. Build it from the challenge."
    )


def check_transaction(opening: OpenRequest, action: OpenAction, demands: Demands) -> Refusal | None:
    """A signed opening transaction, before it is sent: complete, about this session, and on the terms offered."""
    committed = CommittedTerms(opening.price_per_unit, opening.expires_at, opening.sla_hash)
    return first_broken(
        [
            *_offered(opening.seeds, opening.deposit, opening.grace_period, demands),
            *_terms(opening.operator, committed, demands, with_terms=opening.with_terms),
            Check(
                (opening.session, opening.deposit, opening.grace_period)
                == (action.channel_id, action.deposit, action.grace_period),
                ProblemType.VERIFICATION_FAILED,
                "The transaction opens another session, or with another deposit or grace period, than the credential "
                "says: send the credential that belongs to it.",
            ),
            Check(
                opening.token_program == demands.offer.token_program,
                ProblemType.DEPOSIT_FOREIGN,
                f"The transaction uses token program {opening.token_program}; "
                f"this mint belongs to {demands.offer.token_program}.",
            ),
            Check(
                opening.blockhash == demands.request.recent_blockhash,
                ProblemType.VERIFICATION_FAILED,
                "The transaction does not name the challenge's recentBlockhash: build it with that one.",
            ),
        ]
    )


def check_open_slot(open_slot: int, slot: int) -> Refusal | None:
    """Whether an opening that has not landed can still do so, by the newest slot."""
    return first_broken(
        [
            Check(
                slot - OPEN_SLOT_WINDOW <= open_slot <= slot,
                ProblemType.DEPOSIT_TERMS_MISMATCH,
                f"openSlot {open_slot} is not within the last {OPEN_SLOT_WINDOW} slots (now {slot}): "
                "open with the fresh challenge's recentSlot.",
            )
        ]
    )


def check_account(account: SessionAccount, action: OpenAction, demands: Demands) -> Refusal | None:
    """The session account, whose owner and derivation the reader has checked. What it says is what counts."""
    committed = CommittedTerms(account.price_per_unit, account.expires_at, account.sla_hash)
    return first_broken(
        [
            Check(
                account.seeds == action.seeds,
                ProblemType.VERIFICATION_FAILED,
                "The account at channelId is another session than the credential says: send the credential that fits.",
            ),
            Check(
                account.status is not ChainStatus.CLOSING and account.closure_started_at == 0,
                ProblemType.SESSION_CLOSING,
                "This session's payer has asked for its exit: withdraw after the grace period and open a new session.",
            ),
            Check(
                account.status is ChainStatus.OPEN,
                ProblemType.SESSION_CLOSED,
                "This session is closed on chain: open a new one.",
            ),
            *_offered(account.seeds, account.deposit, account.grace_period, demands),
            *_terms(account.operator, committed, demands, with_terms=account.escrow_kind is EscrowKind.VAULT),
            Check(
                account.settled == 0,
                ProblemType.DEPOSIT_REPLAYED,
                "Part of this deposit is settled already, so it has served before: open a new session.",
            ),
            Check(
                account.deposit >= action.deposit,
                ProblemType.DEPOSIT_TOO_SMALL,
                f"The session holds {demands.amount(account.deposit)}, less than the depositAmount "
                f"{demands.amount(action.deposit)} of the credential: say what was deposited.",
            ),
            Check(
                account.decimals == demands.offer.decimals,
                ProblemType.DEPOSIT_FOREIGN,
                f"The session counts in {account.decimals} decimals, the offer in {demands.offer.decimals}.",
            ),
        ]
    )


def check_escrow(
    escrow: TokenAccount, owner: Pubkey, session: Pubkey, account: SessionAccount, demands: Demands
) -> Refusal | None:
    """The tokens are there, in an account that only the session controls (C13, F04); `owner` is its program."""
    return first_broken(
        [
            Check(
                owner == demands.offer.token_program
                and (escrow.mint, escrow.owner) == (account.mint, session)
                and escrow.delegate is None
                and escrow.close_authority is None
                and escrow.state == _INITIALIZED,
                ProblemType.DEPOSIT_FOREIGN,
                "The session's escrow is not a token account that the session alone controls: open a new session.",
            ),
            Check(
                escrow.amount >= account.refundable,
                ProblemType.DEPOSIT_FOREIGN,
                "The session's escrow holds less than its deposit: open a new session.",
            ),
        ]
    )


def _offered(seeds: SessionSeeds, deposit: int, grace_period: int, demands: Demands) -> Iterable[Check]:
    """What all three witnesses state, against what was offered."""
    request, offer, amount = demands.request, demands.offer, demands.amount
    newest = request.recent_slot or 0
    return [
        Check(
            seeds.payee == request.recipient,
            ProblemType.DEPOSIT_WRONG_RECIPIENT,
            f"The deposit pays {seeds.payee}, but this service is paid at {request.recipient}: "
            "open a session with that payee.",
        ),
        Check(
            seeds.mint == request.currency,
            ProblemType.DEPOSIT_FOREIGN,
            f"The deposit is in mint {seeds.mint}, but this offer is priced in {request.currency}: deposit that token.",
        ),
        _signer(seeds.authorized_signer, demands),
        Check(
            grace_period == request.grace_period_seconds,
            ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"The grace period is {grace_period} s, but this offer asks for {request.grace_period_seconds} s.",
        ),
        Check(
            newest - OPEN_SLOT_WINDOW <= seeds.open_slot <= newest,
            ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"openSlot {seeds.open_slot} does not lie within the {OPEN_SLOT_WINDOW} slots up to the challenge's "
            f"recentSlot {newest}: use recentSlot itself.",
        ),
        Check(
            deposit >= offer.minimum_deposit,
            ProblemType.DEPOSIT_TOO_SMALL,
            f"The deposit is {amount(deposit)}, but at least {amount(offer.minimum_deposit)} is needed: "
            "open a session with more.",
        ),
        Check(
            deposit <= offer.maximum_deposit,
            ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"The deposit is {amount(deposit)}, but this offer takes at most {amount(offer.maximum_deposit)}.",
        ),
    ]


def _signer(authorized_signer: Pubkey, demands: Demands) -> Check:
    operator = demands.identity.operator
    if demands.request.voucher_signer is VoucherSigner.OPERATOR:
        return Check(
            authorized_signer == operator,
            ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"authorizedSigner is {authorized_signer}, but in metered mode it must be the operator {operator}.",
        )
    # The program takes a session whose signer is the operator for a metered one.
    return Check(
        authorized_signer not in (operator, demands.identity.payee),
        ProblemType.DEPOSIT_TERMS_MISMATCH,
        f"authorizedSigner is {authorized_signer}, but in voucher mode it must be a key of the agent's own.",
    )


def _terms(operator: Pubkey, committed: CommittedTerms, demands: Demands, *, with_terms: bool) -> Iterable[Check]:
    """What only transaction and account state. A stock `open` commits to no terms; any other to those challenged."""
    terms = demands.terms
    expected = CommittedTerms(terms.price, terms.expires_at, terms.sla_hash) if with_terms else _NO_TERMS
    return [
        Check(
            operator == demands.identity.operator,
            ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"The session's operator is {operator}, but this service settles as {demands.identity.operator}.",
        ),
        Check(
            committed.expires_at == expected.expires_at,
            ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"The session expires at {committed.expires_at}, but the challenge says {expected.expires_at}.",
        ),
        Check(
            committed.price == expected.price,
            ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"The session commits to {demands.amount(committed.price)} per request, but the challenge says "
            f"{demands.amount(expected.price)}.",
        ),
        Check(
            committed.sla_hash == expected.sla_hash,
            ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"The session commits to SLA terms {committed.sla_hash.hex()}, but the challenge says "
            f"{expected.sla_hash.hex()}.",
        ),
    ]


def first_broken(checks: Iterable[Check]) -> Refusal | None:
    """What is answered for the first check that does not hold; None when all do."""
    return next((Refusal(problem, detail) for holds, problem, detail in checks if not holds), None)
