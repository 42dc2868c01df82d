"""ledger: durable debits with receipts, hash chain and replay storage, beside the bare writes of the same database."""

import asyncio
import hashlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import apsw
from solders.keypair import Keypair
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
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.local_key import LocalKey
from retainer_provider.wire.views import request_receipt
from tools.bench.result import Result

SESSIONS, WORKERS, DEBITS = 64, 32, 4_000
BATCH: Final = 32
RAW_DEBITS: Final = 20_000
ROUNDS: Final = 3
PRICE, DEPOSIT = 1, 10**12
NOW = 1_800_000_000
_BODY: Final = b'{"answer": 42}'
# Rounds whose bare writes moved by more than this say more about the machine than about the ledger.
_STEADY: Final = 1.2
_TRIES: Final = 3


async def run(result: Result, _seed: int) -> None:
    """Rounds of bare writes, debits, bare writes again; a round whose bare writes moved by over 20 % is run again."""
    ratios, debits, bare = [], [], []
    with tempfile.TemporaryDirectory(prefix="retainer-bench-") as folder:
        for number in range(ROUNDS):
            rate, raw = await _steady_round(Path(folder), number)
            debits.append(rate)
            bare.append(raw)
            ratios.append(rate / raw)
    result.spread("bare SQLite, batches of 32, synchronous=FULL", bare, "debits/s")
    result.spread("ledger, 32 requests at once: reserve and commit", debits, "debits/s")
    result.at_least("ledger over bare SQLite, median", statistics.median(ratios), 0.5, "ratio")
    result.note("Each debit of the ledger is two guarded writes (reserve, commit) with usage entry, hash chain, signed")
    result.note("receipt and stored answer, durable before it returns; a bare one is one guarded UPDATE.")


async def _steady_round(folder: Path, number: int) -> tuple[float, float]:
    for again in range(_TRIES):
        before = await asyncio.to_thread(_bare, folder / f"bare-{number}-{again}-before.sqlite")
        rate = await _debits(folder / f"ledger-{number}-{again}.sqlite")
        after = await asyncio.to_thread(_bare, folder / f"bare-{number}-{again}-after.sqlite")
        if max(before, after) <= _STEADY * min(before, after):
            break
    return rate, (before + after) / 2


def _bare(path: Path) -> float:
    """Guarded debits per second, 32 to a transaction, each transaction synced."""
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    db.execute(
        "CREATE TABLE sessions (id INTEGER PRIMARY KEY, spent INTEGER NOT NULL, deposit INTEGER NOT NULL) STRICT"
    )
    db.executemany("INSERT INTO sessions VALUES (?, 0, ?)", [(number, DEPOSIT) for number in range(SESSIONS)])
    started = time.perf_counter()
    for first in range(0, RAW_DEBITS, BATCH):
        with db:
            for debit in range(first, first + BATCH):
                db.execute(
                    "UPDATE sessions SET spent = spent + ?1 WHERE id = ?2 AND spent + ?1 <= deposit",
                    (PRICE, debit % SESSIONS),
                )
    elapsed = time.perf_counter() - started
    db.close()
    return RAW_DEBITS / elapsed


async def _debits(path: Path) -> float:
    """Durable debits per second of the ledger."""
    ledger, operator = await SqliteLedger.open(path), LocalKey(Keypair())
    try:
        sessions = [await open_session(ledger, operator, salt) for salt in range(SESSIONS)]
        numbers = iter(range(DEBITS))

        async def work() -> None:
            for number in numbers:
                await debit(ledger, operator, sessions[number % SESSIONS], number)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(work())
        return DEBITS / (time.perf_counter() - started)
    finally:
        await ledger.aclose()


async def debit(ledger: Ledger, operator: Signer, session_id: str, number: int) -> None:
    """One request's way through the books, as the gate takes it."""
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
    return Commit(reservation, Charge(charged=True, units=1, amount=reservation.amount), draft, finish, NOW)


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
