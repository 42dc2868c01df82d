"""`retainer audit provider`: every session of a provider from the chain's history, whatever became of it."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from solders.pubkey import Pubkey

from retainer.audit.cache import HistoryCache
from retainer.audit.crawl import Crawl
from retainer.audit.life import End, Life
from retainer.audit.logs import Shown
from retainer.audit.provider import audit_provider
from retainer.audit.tally import OTHERS, Outcome, Sums, Tally, history_findings
from retainer.chain.errors import ChainUnavailableError
from retainer.cli import main
from retainer.cli.audit_provider import moment_or_ago
from retainer.errors import StoreError
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.usage_log import LogHeader, entry_line
from tests.books import DEPOSIT, GRACE, PRICE, key
from tests.trading import OPERATOR, PAYER
from tests.unit.audit.conftest import Auditor

PROVIDER = str(OPERATOR.pubkey())


async def settled(auditor: Auditor, requests: int) -> str:
    session = await auditor.trade.closing(requests=requests)
    await auditor.trade.settler().settle(session)
    return session


async def left(auditor: Auditor) -> str:
    session = await auditor.trade.open()
    await auditor.trade.request_close(session)
    auditor.chain.advance(seconds=GRACE + 1)
    await auditor.trade.withdraw(session)
    return session


async def write_log(auditor: Auditor, session: str, folder: Path) -> Path:
    record = await auditor.trade.record(session)
    header = LogHeader(Pubkey.from_string(session), record.operator, record.price, None)
    entries = await auditor.trade.ledger.usage(session)
    path = folder / f"{session}.jsonl"
    path.write_text("".join(f"{line}\n" for line in [header.line(), *map(entry_line, entries)]))
    return path


async def test_every_session_is_found_and_told_by_what_became_of_it(auditor: Auditor, tmp_path: Path) -> None:
    closed, gone = await settled(auditor, 30), await left(auditor)
    standing = await auditor.trade.open()
    overdue = await auditor.trade.open(expires_at=auditor.trade.clock.now() + 3_600)
    auditor.chain.advance(seconds=3_600 + GRACE)
    rows, page = tmp_path / "sessions.csv", tmp_path / "report.html"
    told = await auditor.run("provider", PROVIDER, "--csv", str(rows), "--html", str(page))
    assert told.exit_code == 0, told.output
    for words in ("4: 1 settled", "1 left by the payer", "1 open", "1 never closed"):
        assert words in told.output
    rows_shown = [line.split() for line in told.output.splitlines()[:5]]
    assert rows_shown[0][:3] == ["session", "outcome", "deposit"]
    assert [closed, "settled", "1.0", "0.24", "0.76", "30"] in [row[:6] for row in rows_shown]
    assert "4.0 deposited = 0.24 settled + 1.76 refunded + 2.0 still held; 30 units" in told.output
    assert "Nothing here contradicts" in told.output
    found = {row["session"]: row for row in csv.DictReader(rows.read_text().splitlines())}
    assert {session: row["outcome"] for session, row in found.items()} == {
        closed: "settled",
        gone: "left by the payer",
        standing: "open",
        overdue: "never closed",
    }
    assert (found[closed]["settled"], found[gone]["refunded"]) == ("240000", str(DEPOSIT))
    html = page.read_text()
    assert "<svg" in html
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")  # it asks nobody for anything
    assert "Nothing here contradicts" in html


async def test_everything_is_there_as_json(auditor: Auditor) -> None:
    closed = await settled(auditor, 3)
    told = json.loads((await auditor.run("provider", PROVIDER, "--json")).stdout)
    [session] = told["sessions"]
    assert (session["session"], session["settled"], session["outcome"]) == (closed, "24000", "settled")
    assert told["totals"]["outcomes"] == {"settled": 1} | {
        str(outcome): 0 for outcome in Outcome if outcome is not Outcome.SETTLED
    }
    assert (told["findings"], told["logs"], told["transactions_unread"]) == ([], None, 0)


async def test_a_second_audit_reads_only_what_is_new(auditor: Auditor, tmp_path: Path) -> None:
    await settled(auditor, 1)
    cache = ("--cache", str(tmp_path / "cache"))
    await auditor.run("provider", PROVIDER, *cache)
    asked = auditor.node.asked["getTransaction"]
    await auditor.run("provider", PROVIDER, *cache)
    assert auditor.node.asked["getTransaction"] == asked
    await settled(auditor, 2)
    told = await auditor.run("provider", PROVIDER, *cache)
    assert "2: 2 settled" in told.output
    assert auditor.node.asked["getTransaction"] == asked + 2


async def test_an_audit_that_was_interrupted_goes_on(auditor: Auditor, tmp_path: Path) -> None:
    sessions = [await settled(auditor, 1) for _ in range(6)]
    path = tmp_path / "history.sqlite"
    cache = HistoryCache.open(path)
    crawl = Crawl(auditor.chain, cache, OPERATOR.pubkey(), PROGRAM_ID, tell=lambda _: stop())

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await crawl.run()
    cache.close()
    cache = HistoryCache.open(path)
    again = Crawl(auditor.chain, cache, OPERATOR.pubkey(), PROGRAM_ID)
    await again.run()
    assert again.progress.cached == 8
    audit = audit_provider(cache, OPERATOR.pubkey(), now=await auditor.chain.block_time())
    assert audit.tally.outcomes == {Outcome.SETTLED: len(sessions)}
    cache.close()


async def test_only_what_was_done_since_is_counted_and_read(auditor: Auditor) -> None:
    old = [await settled(auditor, 1) for _ in range(3)]
    straddling = await auditor.trade.closing(requests=2)
    auditor.chain.advance(seconds=86_400)
    since = await auditor.chain.block_time()
    await auditor.trade.settler().settle(straddling)
    recent = await settled(auditor, 1)
    cache = HistoryCache.open(None)
    await Crawl(auditor.chain, cache, OPERATOR.pubkey(), PROGRAM_ID).run(since)
    seen: list[Life] = []
    audit_provider(cache, OPERATOR.pubkey(), now=since + 9, since=since, each=seen.append)
    cache.close()
    assert {life.session for life in seen} == {straddling, recent}
    assert all(life.opening and life.price_per_unit == PRICE for life in seen)  # looked up, though before `since`
    assert not {life.session for life in seen} & set(old)


async def test_a_node_that_limits_rates_is_waited_for(auditor: Auditor) -> None:
    """F08: the provider's history comes in thousands of requests, and nodes count them."""
    await settled(auditor, 1)
    auditor.node.busy = 2
    told = await auditor.run("provider", PROVIDER)
    assert "1: 1 settled" in told.output


async def test_a_node_that_does_not_search_is_done_without(auditor: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    await settled(auditor, 1)

    async def refuse(*_: object, **__: object) -> list[object]:
        raise ChainUnavailableError("excluded from account secondary indexes")

    monkeypatch.setattr(auditor.chain, "program_accounts", refuse)
    cache = HistoryCache.open(None)
    crawl = Crawl(auditor.chain, cache, OPERATOR.pubkey(), PROGRAM_ID)
    await crawl.run()
    assert not crawl.progress.searched
    assert audit_provider(cache, OPERATOR.pubkey(), now=0).tally.sessions == 1
    cache.close()


async def test_a_session_whose_opening_the_node_forgot_is_found_by_its_account(
    auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await auditor.trade.open()

    async def nothing(*_: object, **__: object) -> list[str]:
        return []

    monkeypatch.setattr(auditor.chain, "signatures_for", nothing)
    cache = HistoryCache.open(None)
    await Crawl(auditor.chain, cache, OPERATOR.pubkey(), PROGRAM_ID).run()
    [page] = list(cache.lives())
    [life] = page
    cache.close()
    assert (life.session, life.live, life.deposit, life.opening) == (session, True, DEPOSIT, None)


async def test_logs_are_held_against_every_settlement(auditor: Auditor, tmp_path: Path) -> None:
    """The lies that need all sessions to be seen: one that is hidden, and one that never was."""
    logs = tmp_path / "logs"
    logs.mkdir()
    honest, hidden, altered = [await settled(auditor, count) for count in (3, 4, 5)]
    for session in (honest, altered):
        await write_log(auditor, session, logs)
    told = await auditor.run("provider", PROVIDER, "--logs", str(logs))
    assert f"session {hidden}: it settled 32000 by" in told.output
    assert "the provider shows no log of it" in told.output
    assert told.exit_code == 8
    await write_log(auditor, hidden, logs)
    assert "3 fit their settlements, 0 do not" in (await auditor.run("provider", PROVIDER, "--logs", str(logs))).output
    path = logs / f"{altered}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (logs / f"{key('nobody')}.jsonl").write_text("")
    told = await auditor.run("provider", PROVIDER, "--logs", str(logs))
    assert f"session {altered}: the log comes to 32000, and 40000 was settled" in told.output
    assert "the chain knows no such session" in told.output
    (logs / f"{honest}.jsonl").write_text("nonsense")
    assert "its log cannot be read" in (await auditor.run("provider", PROVIDER, "--logs", str(logs))).output


async def test_sessions_that_used_nothing_need_no_log(auditor: Auditor, tmp_path: Path) -> None:
    await settled(auditor, 0)
    await left(auditor)
    await auditor.trade.open()
    told = await auditor.run("provider", PROVIDER, "--logs", str(tmp_path))
    assert told.exit_code == 0, told.output
    assert "0 fit their settlements, 0 do not" in told.output


async def test_a_log_that_cannot_be_checked_is_said_to_be(auditor: Auditor, tmp_path: Path) -> None:
    """A node that forgot an opening must not make its session look checked."""
    session = await settled(auditor, 2)
    shown = Shown(tmp_path)
    await write_log(auditor, session, tmp_path)
    life = Life(session, end=End.CLOSED, settled=2 * PRICE, usage_root="ab" * 32)
    assert (list(shown.check(life)), shown.unchecked, shown.logs) == ([], 1, {})


async def test_another_payee_than_the_expected_is_told(auditor: Auditor) -> None:
    session = await settled(auditor, 1)
    told = await auditor.run("provider", PROVIDER, "--payee", str(key("payee")))
    assert told.exit_code == 8
    assert f"session {session}: it paid {PROVIDER}, and should have paid {key('payee')}" in told.output


async def test_two_settlements_with_one_log_are_told(auditor: Auditor) -> None:
    cache = HistoryCache.open(None)
    lives = [
        Life(name, payee=PROVIDER, operator=PROVIDER, end=End.CLOSED, settled=1, usage_root="ab" * 32)
        for name in ("one", "two")
    ]
    cache.keep(lives)
    audit = audit_provider(cache, OPERATOR.pubkey(), now=0)
    cache.close()
    assert any("2 settlements commit to one usage log" in str(found) for _, found in audit.wrong)


async def test_only_the_newest_sessions_are_shown_and_the_others_counted(
    auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retainer.cli.audit_provider._ROWS", 2)
    sessions = [await settled(auditor, 1) for _ in range(3)]
    lines = (await auditor.run("provider", PROVIDER)).output.splitlines()
    assert "and 1 opened earlier: --csv and --json have them all" in lines
    assert len([line for line in lines if line.startswith(tuple(sessions))]) == 2


def test_a_close_without_a_log_is_told() -> None:
    life = Life("one", end=End.CLOSED, settled=8, refunded=2, deposit=10, usage_root="00" * 32)
    assert ["commits to no usage log" in str(found) for found in history_findings(life, None)] == [True]


def test_what_somebody_could_multiply_is_counted_together() -> None:
    """Whoever opens sessions in many tokens must not make an auditor's memory grow."""
    tally = Tally(0)
    for number in range(1_200):
        tally.add(Life(str(number), mint=str(number), payee=str(number), price_per_unit=number, sla_hash=""))
    assert len(tally.by_token) == len(tally.payees) == len(tally.terms) == 1_001
    assert tally.by_token[OTHERS] == Sums(sessions=200)


@pytest.mark.parametrize("text", ["yesterday", "0d", "30", "2026-13-01", "d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    told = CliRunner().invoke(main, ["audit", "provider", PROVIDER, "--since", text])
    assert told.exit_code == 2
    assert "neither a date" in told.stderr


def test_times_are_dates_or_spans() -> None:
    assert moment_or_ago("2026-11-01") == 1_793_491_200
    assert moment_or_ago("2026-11-01T01:00:00+01:00") == 1_793_491_200
    assert moment_or_ago("1w") - moment_or_ago("2w") in (604_799, 604_800, 604_801)


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_text("something else, long enough to be looked at")
    with pytest.raises(StoreError, match="--cache"):
        HistoryCache.open(path)


async def test_strangers_in_the_history_are_not_the_providers(auditor: Auditor) -> None:
    """The key may have been an agent elsewhere: those sessions are not sold by it."""
    await settled(auditor, 1)
    told = await auditor.run("provider", str(PAYER.pubkey()))
    assert "sessions\n  none" in told.output
    assert told.exit_code == 0
