"""Command line of `scripts/bench`."""

import argparse
import asyncio
import importlib
import secrets
import sys

from tools.bench.load.wrk import LoadError
from tools.bench.result import Result

# name -> (module under tools.bench, what it measures)
SECTIONS = {
    "chain": ("chain", "compute units, bytes, fees and rent of every instruction, with and without a priority fee"),
    "gate": ("gate", "signed requests through FastAPI behind our gate, durable, and behind the peer's, in memory"),
    "fastapi": ("fastapi_kept", "how much of its unmetered rate a FastAPI app keeps behind the gate, durability on"),
    "flood": ("flood", "an honest client's latency while others send bad signatures"),
    "ledger": ("ledger", "durable debits of the ledger beside the bare writes of SQLite and PostgreSQL"),
    "cold-start": ("cold_start", "how late a service sells that finds 100,000 open sessions in its books"),
    "session-length": ("session_length", "a request late in a long session, and among many open ones"),
}

EXAMPLES = """examples:
  scripts/bench --list            what there is, one line each
  scripts/bench chain             a table, and exit status 1 where a goal is missed
  scripts/bench chain --json      one JSON object on stdout; progress goes to stderr
"""


def main(arguments: list[str]) -> int:
    """Run one section, or all of them in turn. Exit status: 0 all goals met, 1 one was missed, 2 usage."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures one section side by side with its alternatives, in one run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("section", nargs="?", choices=[*SECTIONS, "all"], metavar="SECTION")
    parser.add_argument("--list", action="store_true", help="name the sections, one line each")
    parser.add_argument("--json", action="store_true", help="print {section, metrics, notes} instead of a table")
    parser.add_argument("--seed", type=int, help="seed of what is random (default: a fresh one, printed)")
    options = parser.parse_args(arguments)
    if options.list:
        width = max(map(len, SECTIONS))
        for name, (_, line) in SECTIONS.items():
            print(f"{name:{width}}  {line}")
        return 0
    if options.section is None:
        parser.print_usage(sys.stderr)
        print("scripts/bench: name a section, or --list", file=sys.stderr)
        return 2
    seed = options.seed if options.seed is not None else secrets.randbits(32)
    met = True
    for name in SECTIONS if options.section == "all" else [options.section]:
        result = Result(name)
        print(f"{name}: {SECTIONS[name][1]} (seed {seed})", file=sys.stderr, flush=True)
        module = importlib.import_module(f"tools.bench.{SECTIONS[name][0]}")
        try:
            asyncio.run(module.run(result, seed))
        except LoadError as error:
            print(f"scripts/bench: {error}", file=sys.stderr)
            return 1
        print(result.as_json() if options.json else result.as_table(), flush=True)
        met = met and result.met
    return 0 if met else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nscripts/bench: interrupted; what it started is stopped")
