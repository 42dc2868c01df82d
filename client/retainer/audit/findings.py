"""What an audit finds: each contradiction a sentence, with the request that it is about."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Which promise is broken."""

    ROOT = "usage_root"  # the log is not the one whose head was committed on chain
    ORDER = "order"
    CHARGE = "charge"
    VERDICT = "verdict"
    TERMS = "terms"
    PARTIES = "parties"
    SETTLEMENT = "settlement"
    RECEIPT = "receipt"


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction; ``sequence`` is the request's number in the session, where it is about one."""

    kind: Kind
    sentence: str
    sequence: int | None = None

    def __str__(self) -> str:
        """The sentence, led by its place."""
        return self.sentence if self.sequence is None else f"request {self.sequence}: {self.sentence}"
