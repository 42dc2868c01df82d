"""audit-scale: ten times the history and hardly more memory, every session of it a real run of the program."""

import asyncio
import json
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.evidence.history import Bazaar, Recorded
from tools.evidence.report import Report
from tools.node import Node, serving

FEW, MANY = 1_000, 10_000
FEW_IN_CI, MANY_IN_CI = 200, 1_000
MOST_GROWTH = 1.2
# The audit command as it is. Not by the resource usage of a child: that begins with its parent's memory.
_AUDIT: Final = """
import sys
from pathlib import Path
from retainer.cli import main
try:
    main()
finally:
    print(Path("/proc/self/status").read_text(), file=sys.stderr)
"""
_HOARDING: Final = """
from retainer.audit.crawl import Crawl
taken, hoard = Crawl._taken, []
def hoarding(crawl, info):
    hoard.append((info, bytearray(8192)))
    return taken(crawl, info)
Crawl._taken = hoarding
"""
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Audited:
    """One run of the audit command in a process of its own: its totals, peak memory in KiB, and seconds."""

    totals: dict[str, Any]
    findings: list[Any]
    peak: int
    seconds: float

    def sum(self, name: str) -> int:
        """What it added up over all tokens, in base units."""
        return sum(int(token[name]) for token in self.totals["tokens"].values())


async def run(report: Report) -> None:
    """Record a history of each size, replay it to the audit, and compare what it took."""
    sizes = (FEW, MANY) if report.scale == "full" else (FEW_IN_CI, MANY_IN_CI)
    if report.sabotage:
        report.plant("the audit keeps every transaction that it has read")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name:
        peaks = [await _measured(report, sessions, Path(name)) for sessions in sizes]
    few, many = sizes
    report.at_most(f"peak memory at {many} sessions, of that at {few}", round(peaks[1] / peaks[0], 3), MOST_GROWTH)


async def _measured(report: Report, sessions: int, folder: Path) -> int:
    bazaar = await Bazaar.held(sessions, report.seed)
    path = folder / f"{sessions}.sqlite"
    transactions = await bazaar.record(path)
    report.step(f"{sessions} sessions in {transactions} transactions of the compiled program, recorded")
    recorded = Recorded(path)
    try:
        async with serving(Node(recorded)) as url:
            audited = await _audited(report, url, str(bazaar.operator.pubkey()), folder)
    finally:
        recorded.close()
    report.equal(f"{sessions} sessions: settled", audited.totals["outcomes"]["settled"], sessions)
    report.equal(f"{sessions} sessions: paid, in base units", audited.sum("settled"), bazaar.paid)
    report.equal(f"{sessions} sessions: refunded, in base units", audited.sum("refunded"), bazaar.refunded)
    report.equal(f"{sessions} sessions: contradictions", audited.findings, [])
    report.told(f"{sessions} sessions: milliseconds for each", round(1000 * audited.seconds / sessions, 2))
    report.told(f"{sessions} sessions: peak memory of the audit, in MiB", round(audited.peak / 1024, 1))
    return audited.peak


async def _audited(report: Report, url: str, operator: str, folder: Path) -> Audited:
    program = (_HOARDING if report.sabotage else "") + _AUDIT
    command = ["audit", "provider", operator, "--rpc-url", url, "--json"]
    files = ["--html", str(folder / "report.html"), "--csv", str(folder / "sessions.csv")]
    out = folder / "told.json"
    started = time.monotonic()
    with out.open("wb") as told:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, *command, *files), stdout=told, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
    seconds, peak = time.monotonic() - started, _PEAK.search(said.decode())
    if process.returncode or peak is None:
        raise RuntimeError(f"the audit ended with {process.returncode}: {said.decode()[-2000:]}")
    answer = json.loads(out.read_bytes())
    return Audited(answer["totals"], answer["findings"], int(peak.group(1)), seconds)
