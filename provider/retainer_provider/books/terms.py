"""The SLA terms that a session was opened under. Pure."""

import json
from functools import lru_cache

from retainer.protocol.sla import SlaTerms
from retainer_provider.books.records import SessionRecord


def session_terms(record: SessionRecord) -> SlaTerms | None:
    """None where none were agreed."""
    return _terms(record.sla_json) if record.sla_json else None


# Each request is judged by its session's terms, and an offer has had few of them.
@lru_cache(maxsize=256)
def _terms(text: str) -> SlaTerms:
    return SlaTerms.from_json(json.loads(text))
