"""The client's own books of one session: pure, and the reason why a provider cannot bill what was not asked.

A request is *sent* under its Idempotency-Key, and then either refused without charge, or answered with a receipt, or
its outcome stays unknown. Receipts may overtake each other, so sequence and spent are held against sets, not order:

    charged <= spent <= charged + units outstanding * price        and        sequence <= answered + outstanding
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from retainer.protocol.amounts import BaseUnits

Span: TypeAlias = tuple[int, int]
"""Sequence numbers from the first to the second, both included."""


_NOTHING: Final = BaseUnits(0)


class BookError(Exception):
    """A receipt that the books contradict; the message says how."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a receipt says about one request; amounts in base units, ``spent`` cumulative."""

    sequence: int
    amount: BaseUnits
    spent: BaseUnits


@dataclass(frozen=True, slots=True)
class Book:
    """Sums over the receipts seen, and the requests whose outcome is not known.

    ``outstanding`` holds their keys, each with the hex digest of its request, or "" where it must not be asked again;
    ``units`` what those may cost, in units, that may cost more than one.
    """

    charged: BaseUnits = _NOTHING
    spent: BaseUnits = _NOTHING
    answered: tuple[Span, ...] = ()
    outstanding: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many requests were answered with a receipt."""
        return sum(last - first + 1 for first, last in self.answered)

    @property
    def exposed(self) -> int:
        """The units that the requests without an answer may cost."""
        return sum(self.units.get(key, 1) for key in self.outstanding)

    def sent(self, key: str, digest: str = "", units: int = 1) -> "Book":
        """Note a request before it leaves, which may cost ``units``. A retry under its old key adds nothing."""
        most = max(units, self.units.get(key, 1))
        dearer = {**self.units, key: most} if most > 1 else self.units
        return replace(self, outstanding={**self.outstanding, key: digest}, units=dearer)

    def lost(self, digest: str, in_hand: Container[str]) -> str | None:
        """The key of the same request from before, whose answer nobody waits for any more."""
        same = (key for key, sent in self.outstanding.items() if sent == digest and key not in in_hand)
        return next(same, None) if digest else None

    def refused(self, key: str) -> "Book":
        """The service said that this request was not served, so it cannot be billed later."""
        return self._without(key)

    def receipted(self, key: str, entry: Entry, price: int) -> "Book":
        """Enter a receipt; BookError when requests made under ``price`` base units each cannot explain it."""
        most = price * self.units.get(key, 1)
        if entry.amount > most and (key in self.outstanding or not _contains(self.answered, entry.sequence)):
            raise BookError(f"it bills {entry.amount} base units for a request that costs at most {most}")
        settled = self._without(key)
        if _contains(self.answered, entry.sequence):
            # A replayed answer carries the receipt of the first time, and nothing of it is new.
            return settled
        book = replace(
            settled,
            charged=BaseUnits(self.charged + entry.amount),
            spent=BaseUnits(max(self.spent, entry.spent)),
            answered=_with(self.answered, entry.sequence),
        )
        if book.answered[-1][1] > book.requests + len(book.outstanding):
            raise BookError(f"it is number {entry.sequence}, and fewer requests were made")
        if book.spent < book.charged:
            raise BookError(f"it puts the total at {book.spent} base units, below the {book.charged} already receipted")
        book.require_explained(book.spent, price)
        return book

    def totalled(self, key: str, spent: BaseUnits, price: int) -> "Book":
        """Enter a stock receipt, which says the total and nothing about the request; BookError when it is too high."""
        noted = self if key in self.outstanding else self.sent(key)
        most = (self.requests + noted.exposed) * price
        if spent > most:
            raise BookError(f"it puts the total at {spent} base units, and the requests made cost at most {most}")
        total = BaseUnits(max(self.spent, spent))
        answered = _with(self.answered, self.requests + 1)
        return replace(self._without(key), charged=total, spent=total, answered=answered)

    def require_explained(self, spent: int, price: int) -> None:
        """BookError when a total of ``spent`` base units exceeds the receipts and the requests without an answer."""
        most = self.charged + self.exposed * price
        if spent > most:
            raise BookError(f"it puts the total at {spent} base units, and the requests made explain {most}")

    def _without(self, key: str) -> "Book":
        return replace(
            self,
            outstanding={other: digest for other, digest in self.outstanding.items() if other != key},
            units={other: units for other, units in self.units.items() if other != key},
        )


def _contains(spans: Iterable[Span], number: int) -> bool:
    return any(first <= number <= last for first, last in spans)


def _with(spans: Iterable[Span], number: int) -> tuple[Span, ...]:
    first = last = number
    apart = []
    for span in spans:
        if span[1] + 1 < number or span[0] - 1 > number:
            apart.append(span)
        else:
            first, last = min(first, span[0]), max(last, span[1])
    return tuple(sorted([*apart, (first, last)]))
