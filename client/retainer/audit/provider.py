"""A provider's whole history judged, one session at a time, in memory that does not grow with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from solders.pubkey import Pubkey

from retainer.audit.cache import HistoryCache
from retainer.audit.findings import Finding
from retainer.audit.life import Life
from retainer.audit.logs import Shown
from retainer.audit.tally import Tally, history_findings, shared_root

# The first findings are told one by one; a provider with more than these needs no more to be proved.
MOST_FINDINGS: Final = 1_000


@dataclass(slots=True)
class ProviderAudit:
    """What came out: totals, and the first findings with the sessions that they are about."""

    tally: Tally
    wrong: list[tuple[str, Finding]] = field(default_factory=list)
    untold: int = 0

    def add(self, session: str, found: Finding) -> None:
        """Note one finding."""
        if len(self.wrong) < MOST_FINDINGS:
            self.wrong.append((session, found))
        else:
            self.untold += 1


def sessions_of(cache: HistoryCache, provider: Pubkey, since: int | None) -> Iterator[Life]:
    """The provider's sessions that stand, or that something was done to since then, by their opening."""
    for page in cache.lives():
        for life in page:
            mine = str(provider) in (life.payee, life.operator)
            recent = since is None or life.live or max(life.opened_at or 0, life.ended_at or 0) >= since
            if mine and recent:
                yield life


def audit_provider(
    cache: HistoryCache,
    provider: Pubkey,
    *,
    now: int,
    since: int | None = None,
    payee: Pubkey | None = None,
    shown: Shown | None = None,
    each: Callable[[Life], None] = lambda _: None,
) -> ProviderAudit:
    """Count and judge all that the cache holds; ``each`` sees every session. Times in Unix seconds.

    Without a ``payee`` the one that most sessions pay is taken for the right one: whoever is paid now and then instead
    of it was put in its place. ``shown`` are the provider's logs.
    """
    audit = ProviderAudit(Tally(now))
    for life in sessions_of(cache, provider, since):
        audit.tally.add(life)
        each(life)
    expected = str(payee) if payee is not None else audit.tally.usual_payee
    for life in sessions_of(cache, provider, since):
        for found in history_findings(life, expected):
            audit.add(life.session, found)
        for found in shown.check(life) if shown else ():
            audit.add(life.session, found)
    for root, sessions in cache.shared_roots():
        audit.add(sessions[0], shared_root(root, sessions))
    if shown is not None:
        for session, found in shown.unknown(life.session for life in sessions_of(cache, provider, None)):
            audit.add(session, found)
    return audit
