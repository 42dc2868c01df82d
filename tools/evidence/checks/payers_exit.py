"""exit: with the provider dead, the payer's own exit refuses one second early and pays at the deadline."""

import tempfile
from pathlib import Path

from retainer import SessionClient
from retainer.chain.errors import TransactionRefusedError
from retainer.chain.sessions import session_account
from retainer.errors import NotDueError
from retainer.localnet import time_travel
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.instructions import withdraw
from retainer.protocol.pda import derive_ata
from retainer.protocol.program_errors import PROGRAM_ERRORS
from retainer.protocol.session import SessionAccount
from retainer.protocol.views import SessionView
from retainer.wallet import sign_transaction
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import Stage, stage

REQUESTS, DEPOSIT = 5, 1_000_000
# The chain's clock moves with its slots: long ones leave time to act within one second of it.
SLOT_MS = 400


async def run(report: Report) -> None:
    """Use a session, kill its provider, and leave with nothing but the key."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream()) as upstream,
            stage(Path(folder), upstream=upstream.url, slot_ms=SLOT_MS) as stood,
        ):
            before = await stood.balance(stood.agent.pubkey())
            async with SessionClient(stood.agent, rpc_url=stood.rpc_url) as client:
                session = await client.create_session(stood.url, "1.0")
                report.fact("session", session.session_id)
                for _ in range(REQUESTS):
                    (await client.request("GET", stood.url)).raise_for_status()
            await stood.service.kill()
            await _leave(report, stood, session)
            paid = before - await stood.balance(stood.agent.pubkey())
            report.equal("what the agent paid in the end, in base units", paid, 0)
            report.equal("what the payee got, in base units", await stood.balance(stood.payee.pubkey()), 0)
            report.equal("the session's account is gone", await stood.chain.account(session.pda) is None, expected=True)
            process = stood.service.process
            alive = process is not None and process.returncode is None
            report.equal("a provider was there", alive, expected=False)


async def _leave(report: Report, stood: Stage, session: SessionView) -> None:
    """Each step in a client of its own without a store, as after a restart on another machine."""
    async with SessionClient(stood.agent, rpc_url=stood.rpc_url) as client:
        asked = await client.request_close(session.session_id)
    report.fact("request_close", asked.signature)
    deadline = asked.available_at or 0
    account = await session_account(stood.chain, session.pda)
    if account is None:
        report.equal("the session before its deadline", "gone", "waiting")
        return
    report.equal("grace period, in seconds", deadline - account.closure_started_at, account.grace_period)
    if report.sabotage:
        report.plant("the chain's clock is one second further than the check believes")
    await time_travel(stood.rpc_url, deadline - (0 if report.sabotage else 1))
    refused = await _withdraw_now(stood, session, account)
    report.equal("seconds before the deadline", deadline - await stood.chain.block_time(), 1)
    report.equal("withdraw then, by the program", refused, "DeadlineNotReached")
    async with SessionClient(stood.agent, rpc_url=stood.rpc_url) as client:
        due = None
        try:
            await client.withdraw(session.session_id)
        except NotDueError as early:
            due = early.available_at
        report.equal("the client says that it is due at", due, deadline)
    if await stood.chain.block_time() < deadline:  # which may have come by itself meanwhile
        await time_travel(stood.rpc_url, deadline)
    async with SessionClient(stood.agent, rpc_url=stood.rpc_url) as client:
        left = await client.withdraw(session.session_id)
    report.fact("withdraw", left.signature)
    refunded = left.settlement.refunded if left.settlement else None
    report.equal("refunded at the deadline, in base units", refunded, DEPOSIT)


async def _withdraw_now(stood: Stage, session: SessionView, account: SessionAccount) -> str:
    """Send a withdrawal whatever the time is; the name of the program's error, or "accepted"."""
    instruction = withdraw(
        session=session.pda,
        account=account,
        payer_token=derive_ata(stood.agent.pubkey(), stood.mint),
        token_program=TOKEN_PROGRAM_ID,
    )
    latest = await stood.chain.latest_blockhash()
    transaction, _ = sign_transaction(stood.agent, [instruction], latest.blockhash)
    try:
        await stood.chain.send(transaction)
    except TransactionRefusedError as error:
        known = PROGRAM_ERRORS.get(error.program_error or 0)
        return known.name if known else str(error)
    return "accepted"
