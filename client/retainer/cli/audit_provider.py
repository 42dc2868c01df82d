"""`retainer audit provider`: all sessions of a provider, from the chain's history."""

import csv
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import click
from rich.console import Console
from solders.pubkey import Pubkey

from retainer.audit.cache import HistoryCache
from retainer.audit.crawl import Crawl, Progress
from retainer.audit.life import Life
from retainer.audit.logs import Shown
from retainer.audit.page import provider_page
from retainer.audit.provider import ProviderAudit, audit_provider
from retainer.audit.tally import Tally, outcome_of
from retainer.chain.base import Chain
from retainer.cli.failures import ExitStatus
from retainer.cli.options import Options, address, examples, reads_chain
from retainer.cli.words import moment
from retainer.errors import StoreError
from retainer.protocol.amounts import format_amount
from retainer.protocol.constants import Network
from retainer.protocol.encoding import Json
from retainer.protocol.layouts import decode_mint

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_AGO: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])\Z", re.ASCII)
_SPANS: Final = {"h": 3_600, "d": 86_400, "w": 604_800}
_PROVIDER: Final = "7v54NWdBtkjuAFJrLGsS2SXnuk8nKam81mZJeeYxVFi9"
_COLUMNS: Final = (
    *("session", "outcome", "payer", "payee", "operator", "mint", "opened_at", "ended_at", "deposit", "settled"),
    *("refunded", "charged_units", "price_per_unit", "sla_hash", "usage_root", "opening", "ending"),
)
_TERMINAL_WORDS: Final = 20
_ROWS: Final = 20


def moment_or_ago(text: str) -> int:
    """The type of `--since`: an ISO date or time (UTC unless it says otherwise), or `30d`, `12h`, `2w` ago."""
    if ago := _AGO.match(text):
        return int(time.time()) - int(ago.group(1)) * _SPANS[ago.group(2)]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a date like 2026-11-01 nor a span like 30d, 12h or 2w") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def cache_folder() -> Path:
    """Where histories are kept: under the XDG cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retainer" / "audit"


@dataclass(frozen=True, slots=True)
class Wish:
    """What to audit, and what to write of it."""

    provider: Pubkey
    since: int | None
    payee: Pubkey | None
    cache: Path | None
    logs: Path | None
    receipts: Path | None
    csv: Path | None
    html: Path | None

    def file(self, options: Options, program: Pubkey) -> Path | None:
        """The cache's file: one for each cluster, program and provider; None for a temporary one."""
        if self.cache is None and options.network == Network.LOCALNET:
            return None  # a local validator's history ends with it, and another one's must not be mixed in
        return (self.cache or cache_folder()) / f"{options.network}-{program}-{self.provider}.sqlite"


@click.command(
    epilog=examples(
        f"retainer audit provider {_PROVIDER} --since 30d --html report.html",
        f"retainer audit provider {_PROVIDER} --logs logs/ --csv sessions.csv",
    )
)
@click.argument("provider", type=address)
@click.option("--since", type=moment_or_ago, help="Only what was done since: 2026-11-01, or 30d, 12h, 2w ago.")
@click.option("--payee", type=address, help="Who must have been paid.  [default: whom most sessions pay]")
@click.option("--logs", type=_FOLDER, help="A folder of the provider's usage logs, each named SESSION.jsonl.")
@click.option("--receipts", type=_FOLDER, help="A folder of receipts that an agent kept, for use with --logs.")
@click.option("--csv", type=_FILE, help="Write one row for each session.")
@click.option("--html", type=_FILE, help="Write a report with plots, which loads nothing from anywhere.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to keep what was read, so that the next audit goes on from there.  "
    "[default: ~/.cache/retainer/audit; on localnet nowhere]",
)
@reads_chain
async def provider(options: Options, **wishes: object) -> ExitStatus:
    """Say how all sessions went of the provider with this key, its operator's or its payee's.

    From the chain's history alone, or held against the provider's logs. Interrupted, it goes on when called again.
    Exit status 8 where something contradicts.
    """
    wish = Wish(**wishes)  # type: ignore[arg-type]  # click has checked them
    program = min(options.programs or options.pins.programs, key=str)
    cache = HistoryCache.open(wish.file(options, program))
    try:
        async with options.chain(patient=True) as chain:
            with Console(stderr=True).status("reading the history") as status:
                crawl = Crawl(chain, cache, wish.provider, program, tell=lambda at: status.update(_words(at)))
                await crawl.run(wish.since)
            now = await chain.block_time()
            shown = Shown(wish.logs, wish.receipts) if wish.logs else None
            newest: deque[Life] = deque(maxlen=_ROWS)
            audit = _judge(options, wish, cache, now, shown, newest)
            decimals = {mint: await _decimals(chain, mint) for mint in audit.tally.by_token}
    finally:
        cache.close()
    if wish.html:
        _write_page(wish, audit, decimals)
    if options.as_json:
        _end_json(audit, crawl.progress, shown)
    else:
        _print_sessions(newest, audit, decimals)
        _print(audit, crawl.progress, decimals, shown)
    return ExitStatus.DISHONEST if audit.wrong else ExitStatus.OK


def _judge(  # noqa: PLR0917  one caller, in the order in which they come about
    options: Options, wish: Wish, cache: HistoryCache, now: int, shown: Shown | None, newest: deque[Life]
) -> ProviderAudit:
    """Judge, and write sessions out as they come by: a list of them would grow with the history."""
    with ExitStack() as files:
        writers: list[Callable[[Life], None]] = [newest.append]
        if wish.csv:
            try:
                file = files.enter_context(wish.csv.open("w", encoding="utf-8", newline=""))
            except OSError as error:
                raise StoreError(f"{wish.csv} cannot be written: {error.strerror}") from None
            writers.append(_csv_writer(file, now))
        if options.as_json:
            click.echo('{"sessions": [', nl=False)
            writers.append(_json_writer(now))

        def each(life: Life) -> None:
            for write in writers:
                write(life)

        return audit_provider(cache, wish.provider, now=now, since=wish.since, payee=wish.payee, shown=shown, each=each)


def _csv_writer(file: IO[str], now: int) -> Callable[[Life], None]:
    rows = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
    rows.writeheader()
    return lambda life: rows.writerow({**life.to_json(), "outcome": str(outcome_of(life, now))})


def _json_writer(now: int) -> Callable[[Life], None]:
    before = ""

    def write(life: Life) -> None:
        nonlocal before
        click.echo(before + json.dumps({**life.to_json(), "outcome": str(outcome_of(life, now))}), nl=False)
        before = ",\n"

    return write


def _end_json(audit: ProviderAudit, progress: Progress, shown: Shown | None) -> None:
    findings: list[Json] = [{"session": session, **found.to_json()} for session, found in audit.wrong]
    told: dict[str, Json] = {
        "totals": audit.tally.to_json(),
        "findings": findings,
        "findings_untold": audit.untold,
        "transactions_unread": progress.unread,
        "logs": None if shown is None else shown.to_json(),
    }
    click.echo("], " + json.dumps(told)[1:])


def _print_sessions(newest: Iterable[Life], audit: ProviderAudit, decimals: dict[str, int]) -> None:
    """The newest sessions as a table; all of them are for --csv and --json."""
    rows = [("session", "outcome", "deposit", "settled", "refunded", "units", "opened")]
    for life in newest:
        places = decimals.get(life.mint or "", 0)
        refunded = "" if life.refunded is None else format_amount(life.refunded, places)
        amounts = (format_amount(life.deposit, places), format_amount(life.settled, places), refunded)
        opened = "" if life.opened_at is None else moment(life.opened_at)
        rows.append((life.session, str(outcome_of(life, audit.tally.now)), *amounts, str(life.charged_units), opened))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if (earlier := audit.tally.sessions - len(rows) + 1) > 0:
        click.echo(f"and {earlier} opened earlier: --csv and --json have them all")


def _print(audit: ProviderAudit, progress: Progress, decimals: dict[str, int], shown: Shown | None) -> None:
    for name, fact in _facts(audit.tally, progress, decimals, shown).items():
        click.echo(f"{name}\n  {fact}")
    if progress.unread:
        click.echo(f"{progress.unread} transactions are not final yet, or your node has forgotten them: ask again")
    for session, found in audit.wrong:
        click.echo(f"{click.style('WRONG', fg='red')} session {session}: {found}")
    if audit.untold:
        click.echo(f"and {audit.untold} more")
    if not audit.wrong:
        click.echo(click.style("Nothing here contradicts.", fg="green"))
        if shown is None:
            click.echo("Whether what was charged was used is in the provider's logs: ask for them, and use --logs.")


def _facts(tally: Tally, progress: Progress, decimals: dict[str, int], shown: Shown | None) -> dict[str, str]:
    back = f", back to {moment(progress.back_to)}" if progress.back_to else ""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in tally.outcomes.most_common())
    facts = {
        "history": f"{progress.transactions + progress.cached} transactions, {progress.cached} of them known{back}",
        "sessions": f"{tally.sessions}: {outcomes}" if outcomes else "none",
    }
    for mint, sums in tally.by_token.items():
        amounts = (sums.deposited, sums.settled, sums.refunded, sums.held)
        deposited, settled, refunded, held = (format_amount(units, decimals[mint]) for units in amounts)
        facts[f"token {mint}"] = (
            f"{deposited} deposited = {settled} settled + {refunded} refunded + {held} still held; "
            f"{sums.units} units charged"
        )
    for (price, sla_hash), count in tally.terms.most_common(_TERMINAL_WORDS):
        facts[f"terms {sla_hash[:16]}"] = f"{count} sessions at {price} base units a unit, SLA hash {sla_hash}"
    if shown is not None:
        facts["logs"] = (
            f"{shown.logs[True]} fit their settlements, {shown.logs[False]} do not; {shown.requests} requests, "
            f"{shown.free} of them free by the SLA; {shown.credit_units} units of credit for {shown.short_windows} "
            f"windows of low availability; {shown.matched} receipts matched"
        )
        if shown.unchecked:
            facts["not checked"] = f"{shown.unchecked} logs: your node has not the whole history of their sessions"
    return facts


def _write_page(wish: Wish, audit: ProviderAudit, decimals: dict[str, int]) -> None:
    wrong = [f"session {session}: {found}" for session, found in audit.wrong]
    subtitle = f"{audit.tally.sessions} sessions, as of {moment(audit.tally.now)}" + (
        f", since {moment(wish.since)}" if wish.since else ""
    )
    page = provider_page(str(wish.provider), subtitle, audit.tally, decimals, wrong=wrong, untold=audit.untold)
    try:
        Path(str(wish.html)).write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{wish.html} cannot be written: {error.strerror}") from None


async def _decimals(chain: Chain, mint: str) -> int:
    try:
        info = await chain.account(Pubkey.from_string(mint))
    except ValueError:
        return 0  # several tokens counted together
    return 0 if info is None else decode_mint(info.data).decimals


def _words(progress: Progress) -> str:
    back = f", back to {moment(progress.back_to)}" if progress.back_to else ""
    asked = f", {progress.sessions_asked} sessions looked up" if progress.sessions_asked else ""
    return f"{progress.transactions} transactions read, {progress.cached} known{back}{asked}"
