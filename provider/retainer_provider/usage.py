"""The usage log's entry for a finished request. Pure."""

from retainer.protocol.usage import UsageEntry, text_digest
from retainer_provider.records import Commit, SessionRecord


def usage_entry(commit: Commit, session: SessionRecord) -> UsageEntry:
    """The entry of ``commit``, given the session as it is after the charge."""
    key, observed, charge = commit.reservation.key, commit.usage, commit.charge
    return UsageEntry(
        sequence=session.sequence,
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
        cumulative=session.spent,
    )
