"""A session's usage log as a file: JSON Lines, what was agreed first, then one entry per metered request, in order.

    {"type": "session", "version": "1", "sessionId": ..., "operator": ..., "pricePerUnit": "8000", "slaTerms": {...}}
    {"type": "request", "sequence": 1, ...}                                            as in `usage.UsageEntry`

The first line is a claim like all others: auditors hold its terms against the hash that the session committed to.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from solders.pubkey import Pubkey

from retainer.protocol import fields
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.encoding import Json, read_json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.sla import SlaTerms
from retainer.protocol.usage import UsageEntry

VERSION = "1"


@dataclass(frozen=True, slots=True)
class LogHeader:
    """What was agreed: ``price`` in base units per unit, ``sla`` None where there are no terms."""

    session: Pubkey
    operator: Pubkey
    price: BaseUnits
    sla: SlaTerms | None

    def line(self) -> str:
        """The first line of the file, without its end."""
        return _line(
            {
                "type": "session",
                "version": VERSION,
                "sessionId": str(self.session),
                "operator": str(self.operator),
                "pricePerUnit": str(self.price),
                "slaTerms": None if self.sla is None else self.sla.to_json(),
            }
        )


def entry_line(entry: UsageEntry) -> str:
    """The line of one request, without its end."""
    return _line({"type": "request", **entry.to_json()})


def read_log(lines: Iterable[str]) -> tuple[LogHeader, Iterator[UsageEntry]]:
    """The agreement, and the entries as they stand, however wrong; MessageError names a line that is none."""
    numbered = enumerate(lines, 1)
    first = next(numbered, (1, ""))
    return _header(*first), _entries(numbered)


def _header(number: int, line: str) -> LogHeader:
    header = _fields(number, line, "session")
    header.require("version", fields.exactly(VERSION))
    return LogHeader(
        session=header.require("sessionId", fields.pubkey),
        operator=header.require("operator", fields.pubkey),
        price=header.require("pricePerUnit", fields.units),
        sla=header.optional("slaTerms", lambda shown: SlaTerms.from_json(shown, "slaTerms")),
    )


def _entries(numbered: Iterable[tuple[int, str]]) -> Iterator[UsageEntry]:
    for number, line in numbered:
        _fields(number, line, "request")
        entry = read_json(line.encode(), f"line {number}")
        if isinstance(entry, dict):
            entry = {name: value for name, value in entry.items() if name != "type"}
        try:
            yield UsageEntry.from_json(entry)
        except MessageError as error:
            raise MessageError(f"line {number} of the usage log: {error}") from None


def _fields(number: int, line: str, kind: str) -> Fields:
    try:
        found = Fields(read_json(line.encode(), f"line {number}"), f"line {number}")
        found.require("type", fields.exactly(kind))
    except MessageError as error:
        raise MessageError(f"line {number} of the usage log is no {kind} line: {error}") from None
    return found


def _line(value: dict[str, Json]) -> str:
    return json.dumps(fields.present(value), ensure_ascii=False, separators=(",", ":"))
