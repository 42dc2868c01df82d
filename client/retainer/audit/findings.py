"""What an audit finds: each contradiction a sentence, with the request that it is about."""

from dataclasses import dataclass
from enum import StrEnum

from retainer.protocol.encoding import Json


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
    ESCROW = "escrow"
    LATENCY = "latency"  # the agent's clock against the provider's
    HIDDEN = "hidden"  # a session that one side shows and the other does not


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction; ``sequence`` is the request's number in the session, where it is about one."""

    kind: Kind
    sentence: str
    sequence: int | None = None

    def __str__(self) -> str:
        """The sentence, led by its place."""
        return self.sentence if self.sequence is None else f"request {self.sequence}: {self.sentence}"

    def to_json(self) -> dict[str, Json]:
        """The finding as commands print it."""
        return {"kind": str(self.kind), "sequence": self.sequence, "sentence": self.sentence}
