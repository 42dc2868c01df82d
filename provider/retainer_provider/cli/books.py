"""`retainer-provider sessions`, `show` and `settle`: looking into the books, and emptying them."""

import asyncio
import sys
from pathlib import Path

import click

from retainer.chain.confirm import SystemTimer
from retainer.chain.several import connect
from retainer.protocol.amounts import format_amount
from retainer.protocol.session import SessionState
from retainer_provider.background import refund_step
from retainer_provider.blueprint import service_identity
from retainer_provider.books.outcomes import CloseBegin
from retainer_provider.books.records import Custody, SessionRecord, Settlement
from retainer_provider.books.stores.chosen import LedgerReader, open_ledger, reading
from retainer_provider.cli.common import (
    ExitStatus,
    NotFoundError,
    config_option,
    examples,
    json_option,
    print_json,
    settings_of,
    told,
)
from retainer_provider.clock import SystemClock
from retainer_provider.keys import load_keys
from retainer_provider.logs import configure_logging
from retainer_provider.policy import settler_options
from retainer_provider.sessions.cut_streams import CutStreams
from retainer_provider.settings import Settings
from retainer_provider.settling.closing_transaction import CloseBuilder
from retainer_provider.settling.rehearsal import Rehearsal, rehearse
from retainer_provider.settling.settler import SettlementOutcome, Settler
from retainer_provider.wire.views import session_view

_PAGE = 100
OUTCOME_WORDS = {
    SettlementOutcome.WITHDRAWN: "its payer took its exit before; see `show` for what was paid",
    SettlementOutcome.VANISHED: "a fork took its deposit back, so there is nothing to settle",
    SettlementOutcome.UNDER_WAY: "the chain has not said yet what happened; run this again, nothing is paid twice",
    SettlementOutcome.REFUND_BLOCKED: "you are paid; its payer's account takes no refund now, so run this again",
    SettlementOutcome.TOO_LATE: "its deadline is over, so that only its payer's withdrawal can end it",
    SettlementOutcome.REFUSED: "the chain refused it; the log says why (`settlement_refused`), then run this again",
    SettlementOutcome.MISMATCH: "books and chain contradict each other; the log says how (`settlement_mismatch`)",
    SettlementOutcome.NOT_CLOSING: "there is nothing to settle; see `show`",
}
"""What to do about a settlement that is not plainly done."""


@click.command(epilog=examples("sessions", "sessions --state closing", "sessions --json"))
@config_option
@json_option
@click.option("--state", type=click.Choice([str(state) for state in SessionState]), help="Only those in this state.")
@told
def sessions(config: Path, as_json: bool, state: str | None) -> None:  # noqa: FBT001 - click passes flags by position
    """List the sessions in the books, also while the service runs."""
    now = SystemClock().now()
    found = asyncio.run(_all(settings_of(config)))
    chosen = [record for record in found if state is None or record.state_at(now) == state]
    if as_json:
        print_json({"sessions": [session_view(record, now).to_json() for record in chosen]})
        return
    for record in chosen:
        click.echo(_line(record, now))
    click.echo(f"{len(chosen)} session{'' if len(chosen) == 1 else 's'}")


@click.command(epilog=examples("show SESSION_ID", "show SESSION_ID --json"))
@config_option
@json_option
@click.argument("session_id")
@told
def show(config: Path, as_json: bool, session_id: str) -> None:  # noqa: FBT001 - click passes flags by position
    """Show one session, and how far its settlement is."""
    now = SystemClock().now()
    record, settlement = asyncio.run(_one(settings_of(config), session_id))
    if record is None:
        raise NotFoundError(f"there is no session {session_id} in the books: see `retainer-provider sessions`")
    stage = None if settlement is None else str(settlement.stage)
    if as_json:
        print_json({"session": session_view(record, now).to_json(), "settlement": stage})
        return
    facts = {
        "state": str(record.state_at(now)) + (f", because {record.closing_reason}" if record.closing_reason else ""),
        "offer": record.offer_id,
        "payer": str(record.payer),
        "payee": str(record.payee),
        "deposit": _amount(record.deposit, record),
        "spent": f"{_amount(record.spent, record)} in {record.sequence} requests, {record.free_answers} of them free",
        "left": _amount(record.remaining, record),
        "held by": "you, the payee" if record.custody is Custody.PROVIDER else f"the program's escrow {record.escrow}",
        "opened by": record.creation_signature or "-",
        "usage root": record.usage_root.hex(),
        "settlement": stage or "not begun",
        "settled": "-" if record.settled is None else _amount(record.settled, record),
        "refunded": "-" if record.refund is None else _amount(record.refund, record),
        "closed by": record.settlement_signature or "-",
    }
    click.echo(record.session_id)
    for name, value in facts.items():
        click.echo(f"  {name:<11} {value}")


@click.command(epilog=examples("settle SESSION_ID", "settle --all --dry-run", "settle --all"))
@config_option
@json_option
@click.argument("session_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All sessions that are not settled yet.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent, simulated; also while the service runs.")
@told
def settle(
    config: Path,
    as_json: bool,  # noqa: FBT001 - click passes flags by position
    session_ids: tuple[str, ...],
    everything: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
) -> None:
    """Close sessions and settle them to finality.

    On a ledger in a file only while the service is stopped, which settles by itself.
    """
    if bool(session_ids) == everything:
        raise click.UsageError("name the sessions to settle, or --all")
    settings = settings_of(config)
    configure_logging(settings.service.log_level, settings.service.log_format)
    if dry_run:
        _tell(asyncio.run(_rehearse(settings, session_ids)), as_json=as_json)
        return
    outcomes = asyncio.run(_settle(settings, session_ids, as_json=as_json))
    if as_json:
        print_json({"settlements": {session_id: str(outcome) for session_id, outcome in outcomes.items()}})
    else:
        over = sum(outcome.is_end for outcome in outcomes.values())
        click.echo(f"{over} of {len(outcomes)} sessions are settled" if outcomes else "no session is left to settle")
    ended = all(outcome.is_end for outcome in outcomes.values())
    sys.exit(ExitStatus.DONE if ended else ExitStatus.NOT_RIGHT)


async def _all(settings: Settings) -> list[SessionRecord]:
    found: list[SessionRecord] = []
    async with reading(settings) as ledger:
        while page := await ledger.sessions(limit=_PAGE, after=found[-1].number if found else 0):
            found += page
    return found


async def _one(settings: Settings, session_id: str) -> tuple[SessionRecord | None, Settlement | None]:
    async with reading(settings) as ledger:
        return await ledger.session(session_id), await ledger.settlement(session_id)


async def _settle(settings: Settings, session_ids: tuple[str, ...], *, as_json: bool) -> dict[str, SettlementOutcome]:
    keys, clock = load_keys(settings.service), SystemClock()
    options = settler_options(settings, service_identity(settings, keys))
    async with reading(settings) as books:  # where there are none, none are made
        chosen = session_ids or await _unsettled(books)
    ledger = await open_ledger(settings)
    try:
        # Until then the sessions of streams that a crash has cut are not drained.
        await CutStreams(ledger=ledger, operator=keys.operator, clock=clock).book()
        async with connect(settings.service.rpc_urls, quorum=settings.service.rpc_quorum) as chain:
            settler = Settler(
                chain=chain,
                ledger=ledger,
                operator=keys.operator,
                clock=clock,
                timer=SystemTimer(),
                options=options,
                refund=refund_step(keys, chain, ledger, clock, options.costs),
            )
            outcomes = {}
            for session_id in chosen:
                begun = await ledger.begin_close(session_id, "the operator asked for it", clock.now())
                if begun is CloseBegin.UNKNOWN:
                    raise NotFoundError(f"there is no session {session_id} in the books")
                outcomes[session_id] = await settler.settle(session_id)
                if not as_json:
                    click.echo(f"{session_id}  {_told(outcomes[session_id])}")
            return outcomes
    finally:
        await ledger.aclose()


def _told(outcome: SettlementOutcome) -> str:
    """The outcome's name, and what to do where it is not plainly the end."""
    words = OUTCOME_WORDS.get(outcome)
    return str(outcome) if words is None else f"{outcome}: {words}"


async def _rehearse(settings: Settings, session_ids: tuple[str, ...]) -> list[tuple[SessionRecord, Rehearsal]]:
    keys = load_keys(settings.service)
    options = settler_options(settings, service_identity(settings, keys))
    async with (
        reading(settings) as books,
        connect(settings.service.rpc_urls, quorum=settings.service.rpc_quorum) as chain,
    ):
        builder = CloseBuilder(chain, keys.operator, options.program_id, options.costs)
        told = []
        for session_id in session_ids or await _unsettled(books):
            record = await books.session(session_id)
            if record is None:
                raise NotFoundError(f"there is no session {session_id} in the books")
            told.append((record, await rehearse(chain, books, builder, options.program_id, record)))
        return told


def _tell(rehearsals: list[tuple[SessionRecord, Rehearsal]], *, as_json: bool) -> None:
    if as_json:
        print_json({"dryRun": [rehearsal.to_json() for _, rehearsal in rehearsals]})
    for record, would in [] if as_json else rehearsals:
        if would.plan is not None:
            paid, back = _amount(would.plan.amount, record), _amount(would.plan.refund, record)
            click.echo(f"{record.session_id}  would settle {paid} and refund {back}")
        if would.size:
            what = f"{would.instructions} instructions, {would.size} bytes, {would.compute_units} compute units"
            click.echo(f"{record.session_id}  simulated, not sent: {what}")
        if would.obstacle is not None:
            click.echo(f"{record.session_id}  {would.obstacle}")
    sys.exit(ExitStatus.NOT_RIGHT if any(would.obstacle for _, would in rehearsals) else ExitStatus.DONE)


async def _unsettled(ledger: LedgerReader) -> list[str]:
    found: list[SessionRecord] = []
    states = {SessionState.ACTIVE, SessionState.CLOSING}
    while page := await ledger.sessions(states=states, limit=_PAGE, after=found[-1].number if found else 0):
        found += page
    return [record.session_id for record in found]


def _line(record: SessionRecord, now: int) -> str:
    spent, deposit = _amount(record.spent, record), _amount(record.deposit, record)
    return f"{record.session_id}  {record.state_at(now):<9}  {spent} of {deposit} spent in {record.sequence} requests"


def _amount(units: int, record: SessionRecord) -> str:
    return format_amount(units, record.decimals)
