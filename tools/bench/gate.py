"""gate: signed requests through FastAPI behind our gate and behind the peer's, and through raw ASGI, in turns."""

from typing import Final

from tools.bench.load.servers import mppx, ours, peers
from tools.bench.load.sessions import Mode
from tools.bench.load.steady import Plan, alternate
from tools.bench.result import Result

_PLAN: Final = Plan(rounds=3, seconds=3)
# The peer keeps a list of a metered session's requests and copies it with each: few requests a session are its best.
_PEERS: Final = (peers(Mode.VOUCHER, 128), peers(Mode.METERED, 32), peers(Mode.METERED, 1_000))
_MPPX: Final = mppx()
_OURS: Final = (ours("fastapi", Mode.METERED), ours("fastapi", Mode.VOUCHER))
_RAW: Final = ours("raw", None)
_RAW_GATED: Final = (ours("raw", Mode.METERED), ours("raw", Mode.VOUCHER))


async def run(result: Result, _seed: int) -> None:
    """Each side at its best, ours with its ledger on disk and the peer's with its state in memory."""
    rounds = await alternate([*_OURS, *_PEERS, _MPPX, _RAW, *_RAW_GATED], _PLAN)
    rounds.tell(result)
    best, peer = max(_OURS, key=rounds.rate), max(_PEERS, key=rounds.rate)
    result.at_least("FastAPI behind our gate over the peer's, each at its best", rounds.ratio(best, peer), 6, "ratio")
    name = "FastAPI behind our gate, vouchers, beside Node behind mppx's, vouchers on Tempo"
    result.told(name, rounds.rate(_OURS[1]), "1/s", peer=rounds.rate(_MPPX))
    raw = max(_RAW_GATED, key=rounds.rate)
    result.at_least("raw ASGI behind our gate over unmetered", rounds.ratio(raw, _RAW), 1 / 6, "ratio")
    result.note("Every request is signed beforehand, sent once and answered with 2xx; wrk, 32 connections, one process")
    result.note(
        "a side. Ours: each charge synced to disk before its answer leaves, with usage entry, hash chain, signed"
    )
    result.note(
        "receipt and the answer kept for replay. The peer, solana-pay-kit 0.10.0: MemoryChannelStore, a receipt"
    )
    result.note(
        "without a signature, answers not kept; metered, its FastAPI dependency drops the Idempotency-Key, so a"
    )
    result.note("handler passes it on. Of our sides and of the peer's the faster counts.")
    result.note(
        "mppx 0.11.0 has no Solana method: its session on Tempo, an EVM chain, is the nearest that it has. Its state"
    )
    result.note(
        "is in Store.memory(), its receipts have no signature, its vouchers are of secp256k1, its server is Node."
    )
