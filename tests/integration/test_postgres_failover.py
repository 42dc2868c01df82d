"""PostgreSQL that dies amid traffic, and comes back or is followed by its standby: each debit is made exactly once."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import psycopg
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import VoucherSigner
from retainer.protocol.usage import text_digest, usage_root
from retainer.protocol.vouchers import Voucher, sign_voucher
from retainer_provider.books.ledger import LedgerInterruptedError
from retainer_provider.books.outcomes import CommitOutcome, ReserveOutcome
from retainer_provider.books.records import ReserveRequest
from retainer_provider.books.stores.postgres import PostgresLedger
from tests.books import NOW, PRICE, commit_of, fingerprint, open_session, reserve
from tools.postgres import Server, server

CLIENTS = 8
LEASE_SECONDS = 2
NEVER_SECONDS = 60
SIGNER = Keypair.from_seed(b"v" * 32)
END_WHO_WAITS_FOR_A_STANDBY = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@contextmanager
def primary_and_standby() -> Iterator[tuple[Server, Server]]:
    """Two servers: what the first acknowledges, the second has."""
    with server() as primary, server(following=primary) as standby:
        primary.set("synchronous_standby_names = '*'")
        yield primary, standby


@asynccontextmanager
async def ledger_at(url: str) -> AsyncIterator[PostgresLedger]:
    ledger = await PostgresLedger.open(url, lease_seconds=LEASE_SECONDS, connections=4)
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again; TimeoutError when it never is."""
    async with asyncio.timeout(NEVER_SECONDS):
        while not await true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


class Traffic:
    """Clients, each of which asks until it is answered, with the same key, and then for the next."""

    def __init__(self, ledger: PostgresLedger, sessions: list[str]) -> None:
        self.ledger = ledger
        self.sessions = sessions
        self.answered: dict[str, list[str]] = {session: [] for session in sessions}
        self.interrupted = 0
        self.stopping = False

    async def client(self, name: str) -> None:
        for number in itertools.count():
            if self.stopping:
                return
            session, key = self.sessions[number % len(self.sessions)], f"{name}-{number}"
            await until(partial(self._answered, session, key))
            self.answered[session].append(key)

    async def _answered(self, session: str, key: str) -> bool:
        try:
            reserved = await reserve(self.ledger, session, key)
            if reserved.reservation is None:
                assert reserved.outcome in {ReserveOutcome.REPLAY, ReserveOutcome.IN_FLIGHT}, reserved.outcome
                return reserved.outcome is ReserveOutcome.REPLAY
            try:
                return (await self.ledger.commit(commit_of(reserved.reservation))).outcome is CommitOutcome.COMMITTED
            except LedgerInterruptedError:
                with suppress(LedgerInterruptedError):
                    await self.ledger.release(reserved.reservation)
                raise
        except LedgerInterruptedError:
            self.interrupted += 1
            return False

    def total(self) -> int:
        return sum(map(len, self.answered.values()))

    async def more(self, count: int) -> None:
        """Return once so many more were answered."""
        wanted = self.total() + count

        async def reached() -> bool:
            return self.total() >= wanted

        await until(reached)

    async def failure(self, *, wanted: bool) -> str | None:
        """What the ledger tells of itself, once it does, or does no more."""

        async def told() -> bool:
            return (self.ledger.failure is not None) is wanted

        await until(told)
        return self.ledger.failure


async def charged_once(ledger: PostgresLedger, traffic: Traffic) -> None:
    """Everything that was answered is charged and booked once, nothing else is, and nothing is held."""
    for session_id in traffic.sessions:
        await ledger.drained(session_id)
        session, log = await ledger.session(session_id), await ledger.usage(session_id)
        assert session is not None
        assert sorted(entry.key_digest or "" for entry in log) == sorted(map(text_digest, traffic.answered[session_id]))
        assert (session.spent, session.reserved, session.sequence) == (len(log) * PRICE, 0, len(log))
        assert usage_root(log) == session.usage_root


@pytest.mark.row(
    "F30", attack="the server is killed amid traffic, twice", twin="each debit is made once, on its return"
)
async def test_a_server_that_is_killed_and_started_again_loses_and_doubles_nothing() -> None:
    """F30."""
    with server() as run:
        async with ledger_at(run.url) as ledger:
            traffic = Traffic(ledger, [await open_session(ledger, salt, deposit=10**12) for salt in range(4)])
            clients = [asyncio.create_task(traffic.client(f"{number}")) for number in range(CLIENTS)]
            for _ in range(2):
                await traffic.more(100)
                await asyncio.to_thread(run.kill)
                told = await traffic.failure(wanted=True)
                assert told is not None
                assert "look at PostgreSQL" in told
                await asyncio.to_thread(run.start)
                await traffic.failure(wanted=False)
            await traffic.more(100)
            traffic.stopping = True
            await asyncio.gather(*clients)
            assert traffic.interrupted, "nobody was asking when it died"
            await charged_once(ledger, traffic)


@pytest.mark.row("F30", attack="the primary dies, its standby is promoted", twin="the same processes go on there")
async def test_a_promoted_standby_goes_on_with_every_debit() -> None:
    """F30: the standby is synchronous, so it has what was acknowledged; the URL names both."""
    with primary_and_standby() as (primary, standby):
        hosts = f"host={primary.folder},{standby.folder}&target_session_attrs=read-write"
        async with ledger_at(f"postgresql://retainer@/postgres?{hosts}") as ledger:
            traffic = Traffic(ledger, [await open_session(ledger, salt, deposit=10**12) for salt in range(4)])
            clients = [asyncio.create_task(traffic.client(f"{number}")) for number in range(CLIENTS)]
            await traffic.more(100)
            await asyncio.to_thread(primary.kill)
            await traffic.failure(wanted=True)
            await asyncio.to_thread(standby.promote)
            await traffic.failure(wanted=False)
            await traffic.more(100)
            traffic.stopping = True
            await asyncio.gather(*clients)
            await charged_once(ledger, traffic)
        with psycopg.connect(standby.url) as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)


@pytest.mark.row("F30", attack="a connection that breaks once a reservation is committed", twin="it is given back")
async def test_a_reservation_that_nobody_knows_of_is_given_back() -> None:
    """F30: else it would hold its session's money, and its end, for as long as the process lives."""
    with server() as run:
        async with ledger_at(run.url) as ledger:
            session_id = await open_session(
                ledger, voucher_signer=VoucherSigner.CLIENT, authorized_signer=SIGNER.pubkey()
            )
            signed = sign_voucher(Voucher(Pubkey.from_string(session_id), BaseUnits(PRICE)), SIGNER)
            request = ReserveRequest(session_id, "a", fingerprint("a"), PRICE, units=1, now=NOW, voucher=signed)
            with psycopg.connect(run.url, autocommit=True) as admin:
                run.set("synchronous_standby_names = 'nobody'")  # commits are done, but not acknowledged
                asking = asyncio.create_task(ledger.reserve(request))

                async def broken() -> bool:
                    return bool(admin.execute(END_WHO_WAITS_FOR_A_STANDBY).fetchall())

                await until(broken)
                run.set("synchronous_standby_names = ''")
                with pytest.raises(LedgerInterruptedError):
                    await asking
            session = await ledger.session(session_id)
            assert session is not None
            assert session.accepted == PRICE, "it was committed"
            async with asyncio.timeout(NEVER_SECONDS):
                await ledger.drained(session_id)
            again = await ledger.reserve(request)
            assert again.outcome is ReserveOutcome.RESERVED
