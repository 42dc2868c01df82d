"""Idempotency-Keys that somebody waits for, here or in another process: one that is not, and unanswered, is lost."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from retainer.channels.book import Book
from retainer.stores.holds import Holds


class InHand:
    """The keys of one client, held in the store for as long as anyone here waits for their answers."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self._waiting: Counter[str] = Counter()
        self._held: dict[str, ExitStack] = {}

    @contextmanager
    def hold(self, key: str) -> Iterator[bool]:
        """While this lasts, somebody waits for the answer to this key; False where another process does already."""
        with ExitStack() as attempt:
            if key not in self._held and attempt.enter_context(self._holds.hold(key)):
                self._held[key] = attempt.pop_all()
        self._waiting[key] += 1
        try:
            yield key in self._held
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                self._held.pop(key, attempt).close()

    def take_over(self, book: Book, digest: str, hand: ExitStack) -> str | None:
        """The key of a request with this ``digest`` that left before, and for whose answer nobody waits any more.

        It may be an earlier process's. It is in ``hand`` from now on: of several that ask at once, one takes it over.
        """
        passed = {*self._waiting}
        while (lost := book.lost(digest, passed)) is not None:
            with ExitStack() as attempt:
                if attempt.enter_context(self.hold(lost)):
                    hand.enter_context(attempt.pop_all())
                    return lost
            passed.add(lost)
        return None
