"""A session has so many cards and waiting turns and no more, however many are asked for at once; on both stores."""

import asyncio
from collections import Counter
from collections.abc import Iterable

from retainer_provider.books.ledger import Ledger
from retainer_provider.books.steps import Steps
from retainer_provider.cards import shelf
from retainer_provider.cards.records import CardScope, Fenced, NewCard, Written
from retainer_provider.cards.turns import fail
from tests.contract.cards import MOST, ended, held, made, message, new_card, sent, session, shown, taken

MANY = 24
ROOM = 5


async def at_once(ledger: Ledger, steps: Iterable[Steps[Written]]) -> Counter[Written]:
    """What all of them come to, begun at once."""
    return Counter(await asyncio.gather(*(ledger.transact(one) for one in steps)))


async def test_of_cards_made_at_once_only_those_are_made_that_there_is_room_for(ledger: Ledger) -> None:
    paying, other = await session(ledger), await session(ledger, 2)
    found = await at_once(ledger, (shelf.make(new_card(paying, number), ROOM) for number in range(MANY)))
    assert found == {Written.DONE: ROOM, Written.CARDS_FULL: MANY - ROOM}
    cards = await ledger.look(shelf.listed(paying, archived=False, before=2**62, before_id="", limit=MANY))
    assert len(cards) == ROOM
    assert await ledger.transact(shelf.make(new_card(other, MANY), ROOM)) is Written.DONE, "each session has its own"


async def test_archived_cards_take_room_and_the_main_thread_takes_none(ledger: Ledger) -> None:
    paying = await session(ledger)
    first = new_card(paying, 1, request_key="k")
    assert await ledger.transact(shelf.make(first, 1)) is Written.DONE
    await ledger.transact(shelf.archive(paying, first.id, 1))
    assert await ledger.transact(shelf.make(new_card(paying, 2), 1)) is Written.CARDS_FULL
    assert await ledger.transact(shelf.make(new_card(paying, 3, request_key="k"), 1)) is Written.DONE, "made before"
    main = new_card(paying, 4, scope=CardScope.MAIN)
    assert await ledger.transact(shelf.make(main, 1)) is Written.DONE
    assert await ledger.transact(shelf.make(new_card(paying, 5, scope=CardScope.MAIN), 1)) is Written.DONE
    assert (await shown(ledger, main)).scope is CardScope.MAIN


async def test_of_messages_sent_at_once_only_those_are_written_that_may_wait(ledger: Ledger) -> None:
    paying = await session(ledger)
    cards = [await made_with_title(ledger, paying, number) for number in range(3)]
    messages = ((cards[number % 3], message(f"message {number}")) for number in range(MANY))
    found = await at_once(ledger, (shelf.send(paying, card.id, said, ROOM) for card, said in messages))
    assert found == {Written.DONE: ROOM, Written.TURNS_FULL: MANY - ROOM}
    shown_now = [await shown(ledger, card) for card in cards]
    assert sum(card.lines for card in shown_now) == sum(card.waiting for card in shown_now) == ROOM


async def test_a_turn_makes_room_when_it_is_done_and_none_when_it_failed(ledger: Ledger) -> None:
    paying = await session(ledger)
    card = await made_with_title(ledger, paying, 1)
    assert await limited(ledger, card, "one") is Written.DONE
    assert await limited(ledger, card, "two") is Written.TURNS_FULL
    hold = await held(ledger)
    failed = await ledger.transact(fail(hold, await taken(ledger, hold), "no answer", 1, over=True, blocked=False))
    assert failed is Fenced.DONE
    assert await limited(ledger, card, "two") is Written.TURNS_FULL, "it is still to be answered"
    await ledger.transact(shelf.try_again(paying, card.id, 1))
    assert await ended(ledger, hold, await taken(ledger, hold)) is Fenced.DONE
    assert await limited(ledger, card, "two") is Written.DONE
    await ledger.transact(shelf.archive(paying, card.id, 1))
    other = await made_with_title(ledger, paying, 2)
    assert await limited(ledger, other, "three") is Written.DONE, "what was put away waits no more"


async def test_a_first_message_that_asks_for_a_title_too_takes_two_places(ledger: Ledger) -> None:
    new = new_card(await session(ledger))
    await made(ledger, new)
    assert await limited(ledger, new, "why?") is Written.TURNS_FULL
    assert (await shown(ledger, new)).lines == 0, "nothing was written"
    assert await sent(ledger, new, "why?", key="k") is Written.DONE
    again = shelf.send(new.session_id, new.id, message("why?", key="k"), 1)
    assert await ledger.transact(again) is Written.DONE, "it was written before"


async def made_with_title(ledger: Ledger, paying: str, number: int) -> NewCard:
    """A card whose messages queue one turn each."""
    new = new_card(paying, number, title="t")
    assert await ledger.transact(shelf.make(new, MOST)) is Written.DONE
    return new


async def limited(ledger: Ledger, new: NewCard, body: str) -> Written:
    """Say something where one turn may wait."""
    return await ledger.transact(shelf.send(new.session_id, new.id, message(body), 1))
