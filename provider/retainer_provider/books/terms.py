"""The SLA terms that a session was opened under. Pure."""

import json

from retainer.protocol.sla import SlaTerms
from retainer_provider.books.records import SessionRecord


def session_terms(record: SessionRecord) -> SlaTerms | None:
    """None where none were agreed."""
    return SlaTerms.from_json(json.loads(record.sla_json)) if record.sla_json else None
