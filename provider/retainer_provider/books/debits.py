"""What the end of a request does to its session's figures. Pure; the store guards the write."""

from msgspec.structs import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer.protocol.usage import entry_json, hash_after
from retainer_provider.books.admission import uncharged
from retainer_provider.books.outcomes import CommitOutcome, CommitResult
from retainer_provider.books.records import Commit, CommitFacts, SessionRecord
from retainer_provider.books.usage import usage_entry


def booked(record: SessionRecord, end: Commit, reserved: BaseUnits) -> tuple[CommitResult, bytes]:
    """What ``end`` comes to in a session that stands as ``record`` says, and the line of its log where it is charged.

    ``reserved`` is what other requests hold. What ``end.finish`` raises is raised.
    """
    charge = end.charge
    if not _payable(record, end):
        return uncharged(record, charge), b""
    spent, sequence = BaseUnits(record.spent + charge.amount), record.sequence + 1
    entry = usage_entry(end, sequence, spent)
    line = entry_json(entry)
    root = hash_after(record.usage_root, line)
    session = replace(
        record,
        spent=spent,
        reserved=reserved,
        units_charged=record.units_charged + charge.units,
        sequence=sequence,
        free_answers=record.free_answers + (not charge.charged),
        usage_root=root,
        last_activity_at=end.now,
    )
    answer = end.finish(CommitFacts(session, entry, root))
    return CommitResult(CommitOutcome.COMMITTED, session, sequence, root, answer), line


def _payable(record: SessionRecord, end: Commit) -> bool:
    if record.state is not SessionState.ACTIVE and record.state is not SessionState.CLOSING:
        return False
    if record.authorized - record.spent < end.charge.amount:
        return False
    cap = record.max_free_answers
    return end.charge.charged or cap is None or record.free_answers < cap
