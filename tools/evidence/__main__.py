"""Command line of `scripts/evidence`."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import secrets
import sys
import time
import traceback
from pathlib import Path

from tools.evidence.report import Report

ROOT = Path(__file__).resolve().parents[2]

# name -> (module under tools.evidence.checks, what it shows); in the order a newcomer would run them
CHECKS = {
    "main-job": ("main_job", "scripts/demo in a fresh clone ends with its two lines and leaves no process"),
    "program-bytes": ("program_bytes", "the rebuilt program and IDL are byte-identical to the committed ones"),
    "first-hour": (
        "first_hour",
        "README and docs/deploying.md followed to the letter, as on devnet too: deploy, init, serve, ask, close",
    ),
    "wheel": (
        "wheel",
        "the built wheel works in clean environments, extra by extra; the sdist rebuilds the same wheel",
    ),
    "mcp": ("mcp", "an MCP client calls paid tools through a session within its cap and is refused beyond it"),
    "verify-program": ("verify_program", "a program with one byte changed is told apart from the released one"),
    "depleted": ("depleted", "125 requests drain 1.0 at 0.008; the 126th is refused and costs nothing"),
    "sla": (
        "sla",
        "of 30 requests 10 break the SLA and are free: 0.16 settled; of 30 more 11, and availability gives units back",
    ),
    "deposit": ("deposit", "every bad deposit is refused by its own problem type; its honest twin activates"),
    "compute-units": ("compute_units", "compute units, signatures and rent of open and close over random keys"),
    "kill-resume": ("kill_resume", "the provider killed again and again: charged once and delivered, or neither"),
    "stock-client": (
        "stock_client",
        "a stock client of the standard: both modes, self-paid and sponsored, exact balances on chain",
    ),
    "vectors": ("vectors", "the published vectors, derived again by Python and by Rust that shares no code with it"),
    "agent-kill": (
        "agent_kill",
        "the agent killed again and again: same session, each question charged once and answered",
    ),
    "concurrent": (
        "concurrent",
        "50 requests at once on one client: all answered, each charged once, one open on chain",
    ),
    "replay": (
        "replay",
        "one key ten times, at once and in turn, over one and two connections: one charge and answer",
    ),
    "refill": (
        "refill",
        "a depleted session goes on after a top-up; 300 requests, then a burst, topped up without anybody noticing",
    ),
    "exit": (
        "payers_exit",
        "provider dead: no withdrawal one second early, the unsettled deposit at the deadline",
    ),
    "panel": (
        "panel",
        "in Chromium: fund 1.0, ask 30 times, reload, top up, close; exact balance on chain; a second tab sees it all",
    ),
    "panel-quality": (
        "panel_quality",
        "the panel in Chromium: at most 150 kB compressed, axe finds nothing serious, no other host, keyboard alone",
    ),
    "panel-states": (
        "panel_states",
        "screenshots of the panel in each of its states, phone and desktop, light and dark, in build/screenshots",
    ),
    "panel-exit": (
        "panel_exit",
        "provider dead: a page from a file, in Chromium, requests the close, counts down and withdraws it all",
    ),
    "custodial": (
        "custodial",
        "the provider holds the money: 0.24 kept, 0.76 back, no deposit twice, and killed in a refund it pays once",
    ),
    "fuzz-wire": (
        "fuzz_wire",
        "100,000 mutated headers, credentials, transactions: own errors only, nothing served",
    ),
    "crash": (
        "crash",
        "killed at every failpoint on both stores: no token lost, nothing charged twice, no answer unpaid",
    ),
    "settle-once": (
        "settle_once",
        "a settlement that dies at any step, or is lost by its node, pays exactly once; exact balances",
    ),
    "recover": (
        "recover",
        "the database deleted under 20 live sessions: all recovered or refunded, lost at most what was in flight",
    ),
    "rpc-chaos": (
        "rpc_chaos",
        "nodes that fail and lie, a chain that forks: one settlement for each session, no wrong credit",
    ),
    "four-providers": (
        "four_providers",
        "four processes on one PostgreSQL, one of them killed: spent is what was delivered, nothing above a deposit",
    ),
    "usage-priced": (
        "usage_priced",
        "random prompts at an OpenAI-compatible service, whole, streamed, cut and left: paid on chain is what was used",
    ),
    "free-tier": (
        "free_tier",
        "so many free asks for a visitor, the next gated before any work; neither two tabs nor restarts double them",
    ),
    "stateful": (
        "stateful",
        "random calls, deaths and lost leases on both stores: the books agree with a simple model after every step",
    ),
    "cards": (
        "cards",
        "50 cards on 4 responders and 2 nodes, one killed: every message answered once, in order, and charged once",
    ),
    "cards-browser": (
        "cards_browser",
        "cards in Chromium: made, titled, answered, referred to, archived, found again; page, books and chain agree",
    ),
    "cards-unicode": (
        "cards_unicode",
        "ids, titles and references of cards, held against rules of their own on 10,000 random Unicode inputs each",
    ),
    "ten-lies": (
        "ten_lies",
        "a provider that lies in ten ways is caught each time by what gives it away; the honest one passes",
    ),
    "audit-scale": (
        "audit_scale",
        "10,000 recorded sessions audited in hardly more memory than 1,000, each a real run of the program",
    ),
    "attacks-chain": ("attacks_chain", "each attack on the program refused by name, each honest twin accepted"),
    "schemathesis": (
        "schemathesis",
        "requests made up from the OpenAPI document: no server error, nothing given away, all answered as documented",
    ),
    "attacks-http": ("attacks_http", "each attack on service and client refused, each honest twin served"),
    "fuzz-program": ("fuzz_program", "random instructions: conservation and both exits after every step"),
}

EXAMPLES = """examples:
  scripts/evidence --list                 what there is, one line each
  scripts/evidence sla                    run one check for real
  scripts/evidence sla --sabotage         plant its fault: must exit non-zero
  scripts/evidence fuzz-program --runs 1000000
"""


def main(arguments: list[str]) -> int:
    """Run one check. Exit status: 0 it holds, 1 it does not, 2 usage."""
    parser = argparse.ArgumentParser(
        prog="scripts/evidence",
        description="Shows one claim for real, and writes the figures to build/evidence/NAME.json.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=[*CHECKS, "all"], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the checks, one line each")
    parser.add_argument("--sabotage", action="store_true", help="plant the fault the check exists to find")
    parser.add_argument("--runs", type=int, help="repetitions, where the check has a count")
    parser.add_argument("--seed", type=int, help="seed of what is random (default: a fresh one, printed)")
    options = parser.parse_args(arguments)
    if options.list:
        width = max(map(len, CHECKS))
        for name, (_, line) in CHECKS.items():
            print(f"{name:{width}}  {line}")
        return 0
    if options.name is None:
        parser.print_usage(sys.stderr)
        print("scripts/evidence: name a check, or --list", file=sys.stderr)
        return 2
    if options.runs is not None and options.runs < 1:
        parser.error("--runs must be at least 1")
    names = list(CHECKS) if options.name == "all" else [options.name]
    seed = options.seed if options.seed is not None else secrets.randbits(32)
    scale = "ci" if os.environ.get("RETAINER_EVIDENCE_SCALE") == "ci" else "full"
    failed = []
    for name in names:
        report = Report(name, seed, scale, options.sabotage, options.runs)
        if not run_check(report):
            failed.append(name)
    if failed:
        print(f"does not hold: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_check(report: Report) -> bool:
    """Run one check to its end, whatever happens in it, and say whether it holds."""
    module, line = CHECKS[report.name]
    print(f"{report.name}: {line} (seed {report.seed}, {report.scale})", flush=True)
    started = time.monotonic()
    crashed = False
    try:
        check = importlib.import_module(f"tools.evidence.checks.{module}")
        asyncio.run(check.run(report))
    except Exception:  # noqa: BLE001 - a check that breaks is a check that does not hold
        crashed = True
        report.fact("traceback", traceback.format_exc())
        traceback.print_exc()
    holds = report.holds and not crashed
    if report.sabotage and report.fault is None:
        print("  FAIL this check planted no fault")
        holds = False
    path = report.write(ROOT / "build" / "evidence")
    verdict = "holds" if holds else "DOES NOT HOLD"
    print(f"{report.name}: {verdict} after {time.monotonic() - started:.0f} s; {path.relative_to(ROOT)}", flush=True)
    return holds


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted: nothing was shown", file=sys.stderr)
        sys.exit(130)
