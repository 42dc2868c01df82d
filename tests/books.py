"""Ledger entries for tests: a session of 1.0 at 0.008 (6 decimals) unless told otherwise."""

import hashlib
from dataclasses import replace

from msgspec import structs
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.pda import SessionSeeds, derive_session, derive_vault
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount, SessionState, VoucherSigner
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.meter import Charge
from retainer_provider.books.outcomes import ActivateOutcome, AdmitOutcome, CommitResult, ReserveResult
from retainer_provider.books.records import (
    Commit,
    CommitFacts,
    NewSession,
    Reservation,
    ReserveRequest,
    SessionRecord,
    StoredAnswer,
    UsageDraft,
)

NOW = 1_800_000_000
DEPOSIT = 1_000_000
PRICE = 8_000
GRACE = 900
SIGNATURE = "5" * 88


def key(name: str) -> Pubkey:
    """A fixed public key for a role."""
    return Pubkey(hashlib.sha256(name.encode()).digest())


def fingerprint(text: str) -> bytes:
    """A fixed request fingerprint."""
    return hashlib.sha256(text.encode()).digest()


def new_session(salt: int = 0, **changes: object) -> NewSession:
    """An opening whose id is the PDA of its seeds."""
    operator = changes.pop("operator", key("operator"))
    assert isinstance(operator, Pubkey)
    seeds = SessionSeeds(key("payer"), key("payee"), key("mint"), operator, salt, 1000)
    session, _ = derive_session(seeds)
    plain = NewSession(
        session_id=str(session),
        offer_id="basic",
        challenge_id=f"challenge-{salt}",
        payer=seeds.payer,
        payee=seeds.payee,
        operator=operator,
        authorized_signer=operator,
        rent_payer=seeds.payer,
        mint=seeds.mint,
        decimals=6,
        token_program=TOKEN_PROGRAM_ID,
        escrow=derive_vault(session)[0],
        salt=salt,
        open_slot=seeds.open_slot,
        voucher_signer=VoucherSigner.OPERATOR,
        deposit=DEPOSIT,
        price=PRICE,
        expires_at=0,
        grace_period=GRACE,
        sla_hash=bytes(32),
        sla_json="",
        idle_timeout=0,
        max_free_answers=None,
        creation_signature=None,
        created_at=NOW,
    )
    return replace(plain, **changes)  # type: ignore[arg-type] # field names are the tests' responsibility


def account_of(new: NewSession, **changes: object) -> SessionAccount:
    """The account that the opening leads to."""
    plain = SessionAccount(
        version=1,
        bump=derive_session(
            SessionSeeds(new.payer, new.payee, new.mint, new.authorized_signer, new.salt, new.open_slot)
        )[1],
        status=ChainStatus.OPEN,
        escrow_kind=EscrowKind.VAULT,
        decimals=new.decimals,
        payer=new.payer,
        payee=new.payee,
        operator=new.operator,
        authorized_signer=new.authorized_signer,
        rent_payer=new.rent_payer,
        mint=new.mint,
        escrow=new.escrow,
        salt=new.salt,
        open_slot=new.open_slot,
        deposit=BaseUnits(new.deposit),
        settled=BaseUnits(0),
        charged_units=0,
        grace_period=new.grace_period,
        opened_at=NOW,
        closure_started_at=0,
        price_per_unit=BaseUnits(new.price),
        expires_at=new.expires_at,
        sla_hash=new.sla_hash,
    )
    return replace(plain, **changes)  # type: ignore[arg-type] # field names are the tests' responsibility


def record_of(new: NewSession, **changes: object) -> SessionRecord:
    """The books' record of the opening once it is ACTIVE."""
    plain = SessionRecord(
        **{name: getattr(new, name) for name in NewSession.__dataclass_fields__},
        number=1,
        state=SessionState.ACTIVE,
        opened_at=NOW,
        closure_started_at=0,
        spent=BaseUnits(0),
        reserved=BaseUnits(0),
        units_charged=0,
        sequence=0,
        free_answers=0,
        usage_root=bytes(32),
        last_activity_at=NOW,
        closing_reason=None,
        closed_at=0,
        settled=None,
        refund=None,
        settlement_signature=None,
    )
    return structs.replace(plain, **changes)


async def open_session(ledger: Ledger, salt: int = 0, **changes: object) -> str:
    """Admit and activate; returns the id."""
    new = new_session(salt, **changes)
    assert (await ledger.admit(new)).outcome is AdmitOutcome.ADMITTED
    assert await ledger.activate(new.session_id, account_of(new), SIGNATURE, NOW) is ActivateOutcome.ACTIVATED
    return new.session_id


async def reserve(
    ledger: Ledger, session_id: str, name: str | None, *, text: str = "", amount: int = PRICE, now: int = NOW
) -> ReserveResult:
    """Reserve for request ``name``, whose fingerprint is of ``text`` or else of its name."""
    print_ = fingerprint(text or name or "")
    return await ledger.reserve(ReserveRequest(session_id, name, print_, amount, units=1, now=now))


def answer_of(facts: CommitFacts, body: bytes = b"answer") -> StoredAnswer:
    """An answer whose receipt states the final numbers."""
    receipt = f"sequence={facts.entry.sequence} spent={facts.session.spent} head={facts.usage_hash.hex()}"
    return StoredAnswer(200, (("content-type", "text/plain"), ("x-name", "d\xe9j\xe0")), body, receipt)


def commit_of(reservation: Reservation, *, charged: bool = True, body: bytes = b"answer", now: int = NOW) -> Commit:
    """The end of a request: charged in full, or free for being late."""
    charge = (
        Charge(charged=True, units=reservation.units, amount=reservation.amount)
        if charged
        else Charge(charged=False, units=0, amount=BaseUnits(0), term="max_latency_ms")
    )
    draft = UsageDraft(
        timestamp_ms=now * 1000,
        method="GET",
        target="/quote",
        request_digest=reservation.fingerprint.hex(),
        response_digest=hashlib.sha256(body).hexdigest(),
        status=200,
        latency_ms=12,
        body_bytes=len(body),
    )
    return Commit(reservation, charge, draft, lambda facts: answer_of(facts, body), now, quick=True)


async def ask(
    ledger: Ledger, session_id: str, name: str | None, *, charged: bool = True, amount: int = PRICE, body: bytes = b"a"
) -> CommitResult:
    """One whole request that must be let in."""
    reservation = held(await reserve(ledger, session_id, name, amount=amount))
    return await ledger.commit(commit_of(reservation, charged=charged, body=body))


def held(result: ReserveResult) -> Reservation:
    """The reservation of a request that was let in."""
    assert result.reservation is not None, result.outcome
    return result.reservation
