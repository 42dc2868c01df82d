"""custodial: the provider holds the money; what is kept, what comes back, and that it comes back once."""

import asyncio
import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path

import httpx
from solders.signature import Signature

from retainer import SessionClient
from retainer.chain.testing import mint_to
from retainer.errors import CloseUnconfirmedError, DishonestServiceError, PinError
from retainer.flows.closer import CloseResult
from retainer.flows.offers import Offer
from retainer.flows.opening import build_opening
from retainer.protocol.actions import OpenAction
from retainer.protocol.amounts import BaseUnits, format_amount
from retainer.protocol.constants import HEADER_CREDENTIAL, TOKEN_PROGRAM_ID
from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import parse_problem
from retainer.protocol.views import SessionView
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.failpoints.points import Point
from tools.stage import DECIMALS, Stage, stage

PRICE, DEPOSIT, REQUESTS = 10_000, 1_000_000, 24
KEPT = REQUESTS * PRICE
OTHERS = 10_000_000
REPLAYS = 10
RUNS, RUNS_IN_CI = 3, 1
# Quick slots: a deposit and a refund each wait for finality, which is 32 of them.
SLOT_MS = 50
DEATH_SECONDS = 60.0
CLOSE_TRIES = 3

# Every step of a refund at which the books or the chain change.
POINTS = (
    Point.PLAN_BEFORE,
    Point.PLAN_AFTER,
    Point.STORE_SIGNED_BEFORE,
    Point.STORE_SIGNED_AFTER,
    Point.SEND_TRANSFER_BEFORE,
    Point.SEND_TRANSFER_AFTER,
    Point.RECORD_BEFORE,
    Point.RECORD_AFTER,
)

OFFER = """
[offers.held]
price = "0.01"
mint = "{mint}"
decimals = 6
suggested_deposit = "1.0"
minimum_deposit = "0.1"
voucher_signer = "operator"
anchor_on_chain = false
routes = ["/v1/*"]
"""


async def run(report: Report) -> None:
    """One whole session, its deposit replayed, and a provider that dies at every step of the refund."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name:
        folder = Path(name)
        async with (
            running(Upstream()) as upstream,
            stage(
                folder,
                upstream=upstream.url,
                offers=OFFER,
                slot_ms=SLOT_MS,
                service={"refund_keypair": "payee.json"},
                limits={"close_wait_seconds": 10},
            ) as stood,
        ):
            stood.agent = await stood.new_agent("50.0")
            # Other people's money lies there as well: a second refund would be paid, from theirs.
            await mint_to(stood.chain, stood.authority, owner=stood.payee.pubkey(), mint=stood.mint, amount=OTHERS)
            await _consent(report, stood)
            await _session(report, stood)
            await _deaths(report, stood, folder / "witness")


async def _consent(report: Report, stood: Stage) -> None:
    """A client that was not told that the provider may hold the money signs nothing."""
    async with SessionClient(stood.agent, rpc_url=stood.rpc_url, deposit="1.0") as client:
        try:
            await client.request("GET", stood.url)
        except PinError as error:
            report.fact("a client that allows no custody", str(error))
        kept = len(await client.sessions())
    report.equal("sessions opened without consent", kept, 0)


async def _session(report: Report, stood: Stage) -> None:
    """1.0 deposited, 24 requests at 0.01: 0.24 kept, 0.76 transferred back, and no second session for the deposit."""
    async with _client(stood) as client:
        before, got = await _holdings(stood)
        session = await _used(client, stood)
        report.fact("session, and the reference of its transfers", session.session_id)
        report.fact("deposit", session.creation_signature)
        paid, held = await _holdings(stood)
        report.equal("with the provider while the session is open, from the chain", held - got, DEPOSIT)
        await _replay(report, stood, client, session)
        closed = await client.close_session(session.session_id)
        report.fact("refund", closed.signature)
        paid, held = await _holdings(stood)
        report.equal("kept, from the chain", _shown(held - got), _shown(KEPT))
        report.equal("transferred back, from the chain", _shown(DEPOSIT - (before - paid)), _shown(DEPOSIT - KEPT))


async def _replay(report: Report, stood: Stage, client: SessionClient, session: SessionView) -> None:
    """The same transfer for further sessions: by its signature and by its bytes, one after the other and at once."""
    first = await stood.chain.transaction(session.creation_signature or "")
    if first is None:
        raise RuntimeError("the deposit is not found on chain")
    async with httpx.AsyncClient(timeout=60) as http:
        headers = []
        for number in range(2 * REPLAYS):
            [offer] = await client.offers(stood.url)
            by_signature = number % 2 == 0
            headers.append(
                _claim(
                    stood,
                    offer,
                    signature=Signature.from_string(session.creation_signature or "") if by_signature else None,
                    transaction=None if by_signature else first.raw,
                )
            )
        in_turn = [await _refused(http, stood, header) for header in headers[:REPLAYS]]
        at_once = await asyncio.gather(*(_refused(http, stood, header) for header in headers[REPLAYS:]))
    report.equal("replays of the deposit for another session, in turn", sorted(set(in_turn)), ["deposit-foreign"])
    report.equal("replays of the deposit for another session, at once", sorted(set(at_once)), ["deposit-foreign"])
    view = await client.get_session(session.session_id)
    report.equal("deposit of the session after all replays", view.deposit, DEPOSIT)
    report.equal("sessions of this client", len(await client.sessions()), 1)


async def _deaths(report: Report, stood: Stage, witness: Path) -> None:
    """The provider dies at each step of a refund, by its own SIGKILL, and pays once after it was started again."""
    if report.sabotage:
        report.plant("the books say that they have stored the refund before it is sent, and the node keeps no history")
    points = [Point.SEND_TRANSFER_AFTER] if report.sabotage else [*POINTS] * report.count(RUNS, RUNS_IN_CI)
    wrong = []
    async with _client(stood) as client:
        for number, point in enumerate(points, start=1):
            before, got = await _holdings(stood)
            session = await _used(client, stood)
            await stood.service.stop()
            trapped = ("tools.failpoints", "--witness", str(witness))
            spoiled = (*trapped, "--amnesic") if report.sabotage else ()
            await stood.service.start(*(spoiled or trapped), "--point", point)
            closing = asyncio.create_task(_closed(client, session.session_id))
            process = stood.service.process
            if process is None:
                raise RuntimeError("the provider was not started")
            await asyncio.wait_for(process.wait(), DEATH_SECONDS)
            await stood.service.start(*spoiled)
            closed = await closing
            paid, held = await _holdings(stood)
            if (before - paid, held - got) != (KEPT, KEPT):
                wrong.append(f"{point}: agent paid {_shown(before - paid)}, provider kept {_shown(held - got)}")
            if closed is None:
                wrong.append(f"{point}: never closed")
            report.step(
                f"{number} of {len(points)}: died at {point!s}, paid {_shown(KEPT)}" if not wrong else wrong[-1]
            )
    reached = (await asyncio.to_thread(witness.read_text)).splitlines()
    report.equal("deaths that the process itself has witnessed", len(reached), len(points))
    report.equal("refunds that paid other than once", wrong, [])


async def _used(client: SessionClient, stood: Stage) -> SessionView:
    """A session after 24 requests."""
    session = await client.create_session(stood.url, DEPOSIT)
    for _ in range(REQUESTS):
        (await client.request("GET", stood.url, session=session.session_id)).raise_for_status()
    return session


async def _closed(client: SessionClient, session_id: str) -> CloseResult | None:
    """Close it, however often the provider dies of it."""
    for _ in range(CLOSE_TRIES):
        with contextlib.suppress(CloseUnconfirmedError, httpx.TransportError):
            try:
                return await client.close_session(session_id)
            except DishonestServiceError:
                return None
        await asyncio.sleep(1)
    return None


async def _refused(http: httpx.AsyncClient, stood: Stage, header: str) -> str:
    """The short name of the problem that this credential is refused with; its status where it is not."""
    answer = await http.get(stood.url, headers={HEADER_CREDENTIAL: header})
    try:
        return parse_problem(answer.content).type.rpartition(":")[2]
    except MessageError:
        return f"status {answer.status_code}"


def _claim(stood: Stage, offer: Offer, *, signature: Signature | None, transaction: bytes | None) -> str:
    """An opening of a further session that shows a transfer which has served before."""
    own = build_opening(
        offer,
        stood.agent,
        deposit=BaseUnits(DEPOSIT),
        token_program=TOKEN_PROGRAM_ID,
        now=0,
    )
    credential = parse_authorization(own.opening or "")
    action = credential.action
    if not isinstance(action, OpenAction):
        raise TypeError("an opening's credential opens")
    return authorization_header(
        Credential(credential.challenge, replace(action, signature=signature, transaction=transaction))
    )


async def _holdings(stood: Stage) -> tuple[int, int]:
    """What agent and payee hold, from the chain, in base units."""
    return await stood.balance(stood.agent.pubkey()), await stood.balance(stood.payee.pubkey())


def _client(stood: Stage) -> SessionClient:
    return SessionClient(stood.agent, rpc_url=stood.rpc_url, allow_custodial=True)


def _shown(units: int) -> str:
    # Paid twice, an agent has paid less than nothing.
    return ("-" if units < 0 else "") + format_amount(abs(units), DECIMALS)
