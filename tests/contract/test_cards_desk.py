"""Making cards: an id that is taken is no card, on both stores."""

from collections.abc import Iterator
from typing import TypeVar

import pytest

from retainer.protocol.problems import ProblemType
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.steps import Steps
from retainer_provider.cards.desk import CardDesk
from retainer_provider.cards.ids import CHANCE_BYTES, card_id
from retainer_provider.cards.records import Line, Role
from retainer_provider.responder_settings import CardSettings
from retainer_provider.sessions.refusals import RefusedError
from tests.books import NOW, new_session
from tests.contract.cards import session

T = TypeVar("T")


class Still:
    """A clock that stands."""

    def now(self) -> int:
        return NOW

    def now_ms(self) -> int:
        return NOW * 1000

    def monotonic(self) -> float:
        return 0.0


def desk(ledger: Ledger, chances: Iterator[int]) -> CardDesk:
    offers = {"ada": new_session().offer_id}
    return CardDesk(
        ledger=ledger,
        clock=Still(),
        offers=offers,
        limits=CardSettings(most_per_session=3, most_waiting=2),
        chance=lambda size: next(chances).to_bytes(size, "big"),
    )


async def payer(ledger: Ledger) -> SessionRecord:
    record = await ledger.session(await session(ledger))
    assert record is not None
    return record


async def test_a_taken_id_is_tried_again(ledger: Ledger) -> None:
    paying, making = await payer(ledger), desk(ledger, iter([1, 1, 1, 2]))
    first = await making.create(paying, responder="ada", creator="me")
    second = await making.create(paying, responder="ada", creator="me")
    assert first.id == card_id(NOW * 1000, (1).to_bytes(CHANCE_BYTES, "big"))
    assert second.id == card_id(NOW * 1000, (2).to_bytes(CHANCE_BYTES, "big"))


async def test_after_three_taken_ids_it_is_refused_by_name(ledger: Ledger) -> None:
    paying, chances = await payer(ledger), iter([1, 1, 1, 1, 2])
    making = desk(ledger, chances)
    await making.create(paying, responder="ada", creator="me")
    with pytest.raises(RefusedError) as refused:
        await making.create(paying, responder="ada", creator="me")
    assert refused.value.refusal.problem is ProblemType.QUICK_SESSION_ID_COLLISION
    assert refused.value.refusal.extra["code"] == "QUICK_SESSION_ID_COLLISION"
    assert next(chances) == 2  # three tries, and no more
    assert len(await making.cards(paying.session_id, archived=False)) == 1


async def test_a_full_session_is_refused_by_name_with_what_to_do(ledger: Ledger) -> None:
    """Cards and messages are free until they are answered, and would fill a disk."""
    paying, making = await payer(ledger), desk(ledger, iter(range(9)))
    cards = [await making.create(paying, responder="ada", creator="me", title="t") for _ in range(3)]
    with pytest.raises(RefusedError, match="archived ones included: go on with one of them") as refused:
        await making.create(paying, responder="ada", creator="me")
    assert refused.value.refusal.extra["code"] == "QUICK_SESSION_CARDS_FULL"
    for card in cards[:2]:
        await making.send(paying.session_id, card.id, author="me", body="why?", key=None)
    with pytest.raises(RefusedError, match="wait until some are answered, or archive cards") as refused:
        await making.send(paying.session_id, cards[2].id, author="me", body="why?", key=None)
    assert refused.value.refusal.extra["code"] == "QUICK_SESSION_TURNS_FULL"


class Counting:
    """A ledger's `look`, counted."""

    def __init__(self, ledger: Ledger) -> None:
        self.looks = 0
        self._look = ledger.look

    async def look(self, steps: Steps[T]) -> T:
        self.looks += 1
        return await self._look(steps)


async def test_references_that_lead_nowhere_are_looked_for_a_hundred_times_at_most(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    paying, making, counting = await payer(ledger), desk(ledger, iter([1])), Counting(ledger)
    nowhere = " ".join(f"session:{card_id(NOW, number.to_bytes(CHANCE_BYTES, 'big'))}" for number in range(300))
    lines = [Line(1, Role.PERSON, "me", NOW, nowhere, None)] * 3
    monkeypatch.setattr(ledger, "look", counting.look)
    assert await making.previews(paying.session_id, lines) == {}
    assert counting.looks == 100
