"""What the sections about the books share: a session, a debit, and as many of both as are asked for."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.pda import SessionSeeds, derive_session, derive_vault
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount, VoucherSigner
from retainer.protocol.signing import Signer
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.meter import Charge
from retainer_provider.books.records import (
    Commit,
    CommitFacts,
    NewSession,
    Reservation,
    ReserveRequest,
    StoredAnswer,
    UsageDraft,
)
from retainer_provider.wire.views import request_receipt

WORKERS: Final = 32
PRICE, DEPOSIT = 1, 10**12
NOW = 1_800_000_000
_BODY: Final = b'{"answer": 42}'


async def debits(
    ledger: Ledger,
    operator: Signer,
    session_of: Callable[[int], str],
    numbers: Iterable[int],
    *,
    workers: int = WORKERS,
) -> float:
    """Seconds that one debit for each number took, in all, so many at once."""
    left = iter(numbers)

    async def work() -> None:
        for number in left:
            await debit(ledger, operator, session_of(number), number)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return time.perf_counter() - started


async def debit(ledger: Ledger, operator: Signer, session_id: str, number: int) -> None:
    """One request's way through the books, as the gate takes it; ``number`` is never repeated in a session."""
    target = f"/v1/report?q={number}"
    fingerprint = request_digest("GET", target, b"")
    wanted = ReserveRequest(session_id, f"key-{number}", fingerprint, PRICE, units=1, now=NOW)
    reserved = await ledger.reserve(wanted)
    if reserved.reservation is None:
        raise RuntimeError(f"debit {number} was refused: {reserved.outcome}")
    committed = await ledger.commit(_commit(reserved.reservation, operator, target))
    if committed.answer is None:
        raise RuntimeError(f"debit {number} was not booked: {committed.outcome}")


def _commit(reservation: Reservation, operator: Signer, target: str) -> Commit:
    def finish(facts: CommitFacts) -> StoredAnswer:
        receipt = request_receipt(facts.session, facts.entry, facts.usage_hash, operator, NOW)
        return StoredAnswer(200, (("content-type", "application/json"),), _BODY, receipt)

    draft = UsageDraft(
        timestamp_ms=NOW * 1000,
        method="GET",
        target=target,
        request_digest=reservation.fingerprint.hex(),
        response_digest=body_digest(_BODY).hex(),
        status=200,
        latency_ms=12,
        body_bytes=len(_BODY),
    )
    return Commit(reservation, Charge(charged=True, units=1, amount=reservation.amount), draft, finish, NOW, quick=True)


async def open_session(ledger: Ledger, operator: Signer, salt: int) -> str:
    """An active session with a deposit that no run spends."""
    payer, payee, mint = (Pubkey(hashlib.sha256(name).digest()) for name in (b"payer", b"payee", b"mint"))
    seeds = SessionSeeds(payer, payee, mint, operator.pubkey(), salt, open_slot=1000)
    address, bump = derive_session(seeds)
    new = NewSession(
        session_id=str(address),
        offer_id="bench",
        challenge_id=f"challenge-{salt}",
        payer=payer,
        payee=payee,
        operator=operator.pubkey(),
        authorized_signer=operator.pubkey(),
        rent_payer=payer,
        mint=mint,
        decimals=6,
        token_program=TOKEN_PROGRAM_ID,
        escrow=derive_vault(address)[0],
        salt=salt,
        open_slot=seeds.open_slot,
        voucher_signer=VoucherSigner.OPERATOR,
        deposit=DEPOSIT,
        price=PRICE,
        expires_at=0,
        grace_period=900,
        sla_hash=bytes(32),
        sla_json="",
        idle_timeout=0,
        max_free_answers=None,
        creation_signature=None,
        created_at=NOW,
    )
    account = SessionAccount(
        version=1,
        bump=bump,
        status=ChainStatus.OPEN,
        escrow_kind=EscrowKind.VAULT,
        decimals=6,
        payer=payer,
        payee=payee,
        operator=operator.pubkey(),
        authorized_signer=operator.pubkey(),
        rent_payer=payer,
        mint=mint,
        escrow=new.escrow,
        salt=salt,
        open_slot=seeds.open_slot,
        deposit=BaseUnits(DEPOSIT),
        settled=BaseUnits(0),
        charged_units=0,
        grace_period=900,
        opened_at=NOW,
        closure_started_at=0,
        price_per_unit=BaseUnits(PRICE),
        expires_at=0,
        sla_hash=bytes(32),
    )
    await ledger.admit(new)
    await ledger.activate(new.session_id, account, "5" * 88, NOW)
    return new.session_id
