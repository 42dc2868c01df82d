"""Fuzzes the compiled program: random instructions against an oracle, with every invariant held after every step.

`python -m tests.program.fuzz --runs 100000 --seed 1` prints what happened and exits with 1 at the first difference,
which the same seed shows again. `--sabotage` plants one fault, which the fuzzer must then find.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass

import click

from tests.program.fuzzing.duel import Book, Duel, MismatchError
from tests.program.fuzzing.exits import check_exits
from tests.program.fuzzing.generator import Generator
from tests.program.fuzzing.model import Asked, State
from tests.program.fuzzing.oracle import ask
from tests.program.fuzzing.surroundings import happen
from tests.program.harness.errors import Reason

EXITS_EVERY = 25
"""Transactions between two sessions whose exits are tried."""
EVENTS = 0.12
"""Chance that something happens around before a transaction."""
PLANTED = "planted fault: the oracle credits the payer one base unit too many when a withdrawal refunds it"


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzReport:
    """What a run did. Sums are base units over all sessions; `exits` counts the ways out that were tried."""

    seed: int
    instructions: int
    transactions: int
    seconds: float
    landed: Counter[str]
    refused: Counter[str]
    reasons: Counter[str]
    exits: int
    ended: int
    live: int
    paid_in: int
    given: int
    settled: int
    refunded: int
    escrowed: int

    @property
    def rate(self) -> float:
        """Transactions per second."""
        return self.transactions / self.seconds


class FuzzFailure(AssertionError):  # noqa: N818 - it is what the fuzzer looks for, not an error of its own
    """A difference or a broken invariant, with the seed and the step that show it again."""


def run(runs: int, seed: int, *, sabotage: bool = False) -> FuzzReport:
    """Sends at least `runs` random instructions; FuzzFailure names seed and step of the first difference."""
    rng = random.Random(seed)
    duel = Duel(forgetful if sabotage else ask)
    generator = Generator(duel, rng)
    exits = sent = 0
    started = time.perf_counter()
    while sent < runs:
        try:
            if rng.random() < EVENTS:
                happen(duel, rng)
            drafts = generator.drafts()
            sent += len(drafts)
            duel.send(drafts)
            live = list(duel.arena.state.sessions)
            if live and duel.tally.transactions % EXITS_EVERY == 0:
                exits += check_exits(duel, rng.choice(live))
        except MismatchError as difference:
            raise FuzzFailure(f"seed {seed}, transaction {duel.tally.transactions}: {difference}") from difference
    for address in list(duel.arena.state.sessions):
        exits += check_exits(duel, address)
    return _report(duel, seed=seed, seconds=time.perf_counter() - started, exits=exits)


def forgetful(asked: Asked, state: State) -> frozenset[Reason]:
    """The oracle with the planted fault."""
    broken = ask(asked, state)
    if not broken and asked.name == "withdraw" and state.tokens.get(asked.accounts["payer_token"]):
        state.add(asked.accounts["payer_token"], 1)
    return broken


def _report(duel: Duel, *, seed: int, seconds: float, exits: int) -> FuzzReport:
    live = list(duel.books.values())
    total = Book()
    for book in (*duel.ended, *live):
        total = total.plus(book)
    escrowed = sum(book.held for book in live)
    if total.held != escrowed:
        raise FuzzFailure(f"seed {seed}: {total.held - escrowed} base units are unaccounted for")
    tally = duel.tally
    return FuzzReport(
        seed=seed,
        instructions=tally.landed.total() + tally.refused.total(),
        transactions=tally.transactions,
        seconds=seconds,
        landed=tally.landed,
        refused=tally.refused,
        reasons=tally.reasons,
        exits=exits,
        ended=len(duel.ended),
        live=len(live),
        paid_in=total.paid_in,
        given=total.given,
        settled=total.paid_out,
        refunded=total.refunded,
        escrowed=escrowed,
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs and prints; 0 when chain and oracle never differed."""
    parser = argparse.ArgumentParser(prog="python -m tests.program.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="instructions to send at least")
    parser.add_argument("--seed", type=int, default=1, help="the same seed sends the same instructions")
    parser.add_argument("--sabotage", action="store_true", help=PLANTED)
    asked = parser.parse_args(arguments)
    if asked.sabotage:
        click.echo(PLANTED)
    try:
        report = run(asked.runs, asked.seed, sabotage=asked.sabotage)
    except FuzzFailure as difference:
        click.echo(f"FAILED: {difference}")
        return 1
    for name in sorted(report.landed | report.refused):
        click.echo(f"{name}: {report.landed[name]} landed, {report.refused[name]} refused")
    click.echo(f"refused for {len(report.reasons)} reasons; {report.ended} sessions ended, {report.live} live")
    click.echo(
        f"paid in {report.paid_in} + given {report.given} = settled {report.settled} + refunded {report.refunded} "
        f"+ escrowed {report.escrowed}; {report.exits} exits open"
    )
    click.echo(
        f"seed {report.seed}: {report.instructions} instructions in {report.transactions} transactions, "
        f"{report.rate:.0f} transactions/s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
