"""The usage log's entry for a finished request. Pure."""

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.usage import UsageEntry, text_digest
from retainer_provider.books.records import Commit


def usage_entry(commit: Commit, sequence: int, spent: BaseUnits) -> UsageEntry:
    """The entry of ``commit``, the session's ``sequence``-th, after which it has ``spent`` so much in all."""
    key, observed, charge = commit.reservation.key, commit.usage, commit.charge
    return UsageEntry(
        sequence=sequence,
        timestamp_ms=observed.timestamp_ms,
        key_digest=None if key is None else text_digest(key),
        method=observed.method,
        target=observed.target,
        request_digest=observed.request_digest,
        response_digest=observed.response_digest,
        status=observed.status,
        latency_ms=observed.latency_ms,
        body_bytes=observed.body_bytes,
        charged=charge.charged,
        term=charge.term,
        units=charge.units,
        amount=charge.amount,
        cumulative=spent,
        schema_ok=observed.schema_ok,
    )
