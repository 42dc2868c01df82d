"""What the operator signed against what the agent saw itself, by its own clock: pure, over kept receipts.

Only these notes show a lie that was told from the first moment on: a provider whose receipt, log and settlement agree
about a latency that never was. They are the agent's own word: proof to the agent, a claim to everybody else.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from retainer.audit.findings import Finding, Kind
from retainer.protocol.receipts import MeteredDetails
from retainer.protocol.sla import SlaTerms
from retainer.stores.receipts import KeptReceipt, Observation

# A way that was slow once is no lie: what the network took at its best must leave the term broken by as much again.
_BENEFIT_OF_DOUBT: Final = 2


def contradicted(kept: Iterable[KeptReceipt], terms: SlaTerms | None) -> Iterator[Finding]:
    """Where a receipt is not about the answer that it came with; ``terms`` are what the session was opened under."""
    pairs = [(one.receipt.retainer.metered, one.seen) for one in kept if one.seen and one.receipt.retainer]
    seen = [(told, saw) for told, saw in pairs if told is not None and saw is not None]
    yield from _reused(seen)
    for told, saw in seen:
        if told.request_digest != saw.request_digest:
            yield Finding(Kind.RECEIPT, "its receipt came with the answer to another request", told.sequence)
        elif not saw.repeated:
            yield from _answer(told, saw)
    yield from _too_quick(seen, terms)


def _reused(seen: Sequence[tuple[MeteredDetails, Observation]]) -> Iterator[Finding]:
    requests: dict[int, set[str]] = {}
    for told, saw in seen:
        requests.setdefault(told.sequence, set()).add(saw.request_digest)
    for sequence, digests in requests.items():
        if len(digests) > 1:
            yield Finding(Kind.RECEIPT, f"one receipt was handed out for {len(digests)} different requests", sequence)


def _answer(told: MeteredDetails, saw: Observation) -> Iterator[Finding]:
    if told.status != saw.status:
        yield Finding(Kind.RECEIPT, f"status {saw.status} came, and {told.status} was signed", told.sequence)
    if saw.body_digest is not None and told.response_digest != saw.body_digest:
        yield Finding(
            Kind.RECEIPT,
            f"a body with digest {saw.body_digest} came, and {told.response_digest} was signed",
            told.sequence,
        )


def _too_quick(seen: Sequence[tuple[MeteredDetails, Observation]], terms: SlaTerms | None) -> Iterator[Finding]:
    """Charged requests that kept the latency term by the provider's clock alone."""
    if terms is None or terms.max_latency_ms is None:
        return
    timed = [(told, saw) for told, saw in seen if not saw.repeated]
    way = min((max(0, saw.latency_ms - told.latency_ms) for told, saw in timed), default=0)
    for told, saw in timed:
        if told.charged and saw.latency_ms > terms.max_latency_ms + _BENEFIT_OF_DOUBT * way:
            yield Finding(
                Kind.LATENCY,
                f"{told.latency_ms} ms was signed, and by the agent's clock it took {saw.latency_ms} ms, of which the "
                f"way there and back has taken as little as {way} ms; at most {terms.max_latency_ms} ms were agreed: "
                "a network that stood still, or a forged latency",
                told.sequence,
            )
