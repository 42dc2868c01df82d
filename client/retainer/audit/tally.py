"""What a provider's sessions come to: counts and sums over any number of them, one at a time. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from retainer.audit.findings import Finding, Kind
from retainer.audit.life import End, Life
from retainer.audit.session import life_findings
from retainer.protocol.encoding import Json
from retainer.protocol.usage import EMPTY_ROOT

DAY: Final = 86_400
SHARES: Final = 10
# Terms and parties are as many as somebody wishes to pay for; beyond these they are counted together.
_MOST_KINDS: Final = 1_000
OTHERS: Final = "others"


class Outcome(StrEnum):
    """What became of a session."""

    SETTLED = "settled"
    LEFT = "left by the payer"
    OPEN = "open"
    OVERDUE = "never closed"  # past its deadline, and still there
    GONE = "gone unseen"


@dataclass(slots=True)
class Sums:
    """Of the sessions in one token, base units."""

    sessions: int = 0
    deposited: int = 0
    settled: int = 0
    refunded: int = 0
    held: int = 0  # in the escrows of sessions that stand
    units: int = 0

    def to_json(self) -> dict[str, Json]:
        """Amounts as decimal strings."""
        amounts = {name: str(getattr(self, name)) for name in ("deposited", "settled", "refunded", "held")}
        return {"sessions": self.sessions, "units": self.units, **amounts}


@dataclass(slots=True)
class Tally:
    """Aggregates; ``now`` in Unix seconds. ``by_day``: sessions opened and settled by their UTC day."""

    now: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    by_token: dict[str, Sums] = field(default_factory=dict)
    payees: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    terms: Counter[tuple[str, str]] = field(default_factory=Counter)
    opened_by_day: Counter[int] = field(default_factory=Counter)
    settled_by_day: Counter[int] = field(default_factory=Counter)
    shares: list[int] = field(default_factory=lambda: [0] * (SHARES + 1))

    @property
    def sessions(self) -> int:
        """How many in all."""
        return sum(self.outcomes.values())

    @property
    def usual_payee(self) -> str | None:
        """Who most sessions pay."""
        return next((payee for payee, _ in self.payees.most_common(1)), None)

    def add(self, life: Life) -> None:
        """Count one session."""
        outcome = outcome_of(life, self.now)
        self.outcomes[outcome] += 1
        sums = self.by_token.setdefault(_kind(self.by_token, life.mint or "unknown"), Sums())
        sums.sessions += 1
        sums.deposited += life.deposit
        sums.settled += life.settled
        sums.refunded += life.refunded or 0
        sums.held += life.deposit - life.settled if outcome in (Outcome.OPEN, Outcome.OVERDUE) else 0
        sums.units += life.charged_units
        for counted, name in ((self.payees, life.payee), (self.operators, life.operator)):
            if name is not None:
                counted[_kind(counted, name)] += 1
        if life.price_per_unit is not None and life.sla_hash is not None:
            agreed = (str(life.price_per_unit), life.sla_hash)
            self.terms[agreed if agreed in self.terms or len(self.terms) < _MOST_KINDS else (OTHERS, OTHERS)] += 1
        if life.opened_at is not None:
            self.opened_by_day[life.opened_at // DAY] += 1
        if life.ended_at is not None and life.end is End.CLOSED:
            self.settled_by_day[life.ended_at // DAY] += 1
            if life.deposit:
                self.shares[life.settled * SHARES // life.deposit] += 1

    def to_json(self) -> dict[str, Json]:
        """What a script needs; amounts as decimal strings of base units."""
        return {
            "sessions": self.sessions,
            "outcomes": {str(outcome): self.outcomes[outcome] for outcome in Outcome},
            "tokens": {mint: sums.to_json() for mint, sums in self.by_token.items()},
            "payees": dict(self.payees),
            "operators": dict(self.operators),
            "terms": [
                {"price_per_unit": price, "sla_hash": sla_hash, "sessions": count}
                for (price, sla_hash), count in self.terms.most_common()
            ],
        }


def outcome_of(life: Life, now: int) -> Outcome:
    """What became of it by ``now``, Unix seconds."""
    match life.end:
        case End.CLOSED:
            return Outcome.SETTLED
        case End.WITHDRAWN:
            return Outcome.LEFT
        case End.GONE:
            return Outcome.GONE
    deadline = life.deadline()
    return Outcome.OVERDUE if deadline is not None and now >= deadline else Outcome.OPEN


def history_findings(life: Life, payee: str | None) -> Iterator[Finding]:
    """What is wrong with one session, by the chain alone; ``payee`` is whom it should have paid."""
    yield from life_findings(life)
    if payee is not None and life.payee is not None and life.payee != payee:
        yield Finding(Kind.PARTIES, f"it paid {life.payee}, and should have paid {payee}: the payee was swapped")
    if life.end is End.CLOSED and life.settled and life.usage_root in (None, EMPTY_ROOT.hex()):
        yield Finding(Kind.ROOT, f"{life.settled} was settled, and its close commits to no usage log")


def shared_root(root: str, sessions: list[str]) -> Finding:
    """One log cannot be that of two sessions."""
    return Finding(Kind.ROOT, f"{len(sessions)} settlements commit to one usage log, {root}: {', '.join(sessions)}")


def _kind(counted: dict[str, Sums] | Counter[str], name: str) -> str:
    return name if name in counted or len(counted) < _MOST_KINDS else OTHERS
