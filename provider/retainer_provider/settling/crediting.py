"""What a session gives back for availability that was promised and not kept: from its usage log, at its close."""

from collections.abc import Sequence
from typing import Final, Protocol

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.availability import AvailabilityMeter
from retainer.protocol.usage import UsageEntry
from retainer_provider.books.records import SessionRecord, Settlement
from retainer_provider.books.terms import session_terms

_PAGE: Final = 1000


class UsageReader(Protocol):
    """Books that can be read: a ledger, or a read-only view of one."""

    async def usage(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[UsageEntry]:
        """Entries of the usage hash chain with a sequence above ``after``."""
        ...


async def availability_of(ledger: UsageReader, record: SessionRecord) -> AvailabilityMeter:
    """The whole log, metered; nothing is read where no availability was promised. Final once the session is drained."""
    terms = session_terms(record)
    meter = AvailabilityMeter(None if terms is None else terms.availability)
    if terms is None or terms.availability is None:
        return meter
    after = 0
    while page := await ledger.usage(record.session_id, after=after, limit=_PAGE):
        for entry in page:
            meter.add(entry)
        after = page[-1].sequence
    return meter


def credited(record: SessionRecord, settlement: Settlement | None) -> BaseUnits | None:
    """What was charged and then given back, in base units; None where nothing was, or the session has not ended.

    A payer that withdrew first left more unpaid, which is no credit. Pure.
    """
    if record.settled is None or settlement is None or settlement.plan.amount != record.settled:
        return None
    given_back = (record.units_charged - settlement.plan.charged_units) * record.price
    return BaseUnits(given_back) if given_back else None
