"""Cards, turns and hosts on both stores."""

import asyncio

import pytest

from retainer_provider.activity.log import KEPT, events_after
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.steps import Steps
from retainer_provider.cards import hosting, shelf, turns
from retainer_provider.cards.records import CardScope, CardStatus, Fenced, Hold, Seat, TitleSource, TurnKind, Written
from tests.contract.cards import MOST, compose, ended, held, made, message, new_card, sent, session, shown, taken
from tests.contract.conftest import OpenLedger


async def test_a_taken_id_makes_no_card(ledger: Ledger) -> None:
    paying = await session(ledger)
    await made(ledger, new_card(paying))
    again = new_card(await session(ledger, 2), creator="somebody else")
    assert await ledger.transact(shelf.make(again, MOST)) is Written.COLLISION
    assert (await shown(ledger, new_card(paying))).creator == "me"


async def test_the_same_request_makes_one_card(ledger: Ledger) -> None:
    paying = await session(ledger)
    first = await made(ledger, new_card(paying, request_key="k"))
    assert await ledger.transact(shelf.make(new_card(paying, 2, request_key="k"), MOST)) is Written.DONE
    found = await ledger.look(shelf.card_of_key(paying, "k"))
    assert found == first


async def test_a_card_is_seen_by_its_session_alone(ledger: Ledger) -> None:
    new = new_card(await session(ledger))
    await made(ledger, new)
    other = await session(ledger, 2)
    assert await ledger.look(shelf.card(other, new.id)) is None
    assert await ledger.look(shelf.thread(other, new.id, 0, 10)) is None
    for steps in (
        shelf.send(other, new.id, message("mine now"), MOST),
        shelf.set_title(other, new.id, "mine", TitleSource.PERSON, 1),
        shelf.archive(other, new.id, 1),
        shelf.try_again(other, new.id, 1),
    ):
        assert await ledger.transact(steps) is Written.UNKNOWN


async def test_a_new_card_needs_a_title_before_anybody_but_its_creator_writes(ledger: Ledger) -> None:
    new = new_card(await session(ledger))
    assert (await made(ledger, new)).status is CardStatus.NEEDS_TITLE
    assert await sent(ledger, new, "hello", author="ada") is Written.TITLE_REQUIRED
    assert await sent(ledger, new, "hello") is Written.DONE
    titled = shelf.set_title(new.session_id, new.id, "Tides", TitleSource.PERSON, 1)
    assert await ledger.transact(titled) is Written.DONE
    assert await sent(ledger, new, "hello", author="somebody") is Written.DONE


async def test_a_responder_gives_the_title_in_a_turn_of_its_own_then_answers(ledger: Ledger) -> None:
    new = new_card(await session(ledger))
    await made(ledger, new)
    await sent(ledger, new, "why tides?")
    hold = await held(ledger)
    naming = await taken(ledger, hold)
    assert naming.kind is TurnKind.TITLE
    assert (await shown(ledger, new)).status is CardStatus.RUNNING
    assert await ended(ledger, hold, naming, "Tides") is Fenced.DONE
    card = await shown(ledger, new)
    assert (card.title, card.title_source, card.units, card.amount) == ("Tides", TitleSource.RESPONDER, 1, 8_000)
    answering = await taken(ledger, hold)
    assert (answering.kind, answering.request) == (TurnKind.ANSWER, f"answer:1:why tides?:after {naming.number}")
    await ended(ledger, hold, answering, "the moon")
    thread = await ledger.look(shelf.thread(new.session_id, new.id, 0, 10))
    assert thread is not None
    assert [(line.number, line.author, line.body) for line in thread.lines] == [
        (1, "me", "why tides?"),
        (2, "ada", "the moon"),
    ]
    assert (thread.card.status, thread.card.waiting, thread.card.turns) == (CardStatus.ACTIVE, 0, 2)
    assert thread.card.preview == "the moon"


async def test_an_answer_without_a_title_is_not_written(ledger: Ledger) -> None:
    new = new_card(await session(ledger))
    await made(ledger, new)
    assert await ledger.transact(shelf.answer_line(new.id, message("early", "ada"))) is False
    assert (await shown(ledger, new)).lines == 0


async def test_a_title_from_a_person_drops_the_turn_that_was_to_find_one(ledger: Ledger) -> None:
    new = new_card(await session(ledger))
    await made(ledger, new)
    await sent(ledger, new, "one")
    await ledger.transact(shelf.set_title(new.session_id, new.id, "Mine", TitleSource.PERSON, 1))
    hold = await held(ledger)
    assert (await taken(ledger, hold)).kind is TurnKind.ANSWER


async def test_turns_run_one_at_a_time_in_the_order_of_the_messages(ledger: Ledger) -> None:
    paying = await session(ledger)
    cards = [new_card(paying, number, title="t") for number in (1, 2)]
    for new in cards:
        await made(ledger, new)
    main = new_card(paying, 3, scope=CardScope.MAIN)
    await made(ledger, main)
    for body, new in (("a", cards[0]), ("b", cards[1]), ("c", main), ("d", cards[0])):
        await sent(ledger, new, body)
    hold = await held(ledger)
    answered = []
    for _ in range(4):
        turn = await taken(ledger, hold)
        assert await taken(ledger, hold) == turn  # until it ends there is no other
        answered.append((turn.card, turn.line))
        await ended(ledger, hold, turn)
    assert answered == [(cards[0].id, 1), (cards[1].id, 1), (main.id, 1), (cards[0].id, 2)]
    assert await ledger.transact(turns.take(hold, compose, 0)) is None


async def test_a_turn_taken_over_sends_the_same_and_knows_its_answer(ledger: Ledger, open_ledger: OpenLedger) -> None:
    new = new_card(await session(ledger), title="t")
    await made(ledger, new)
    await sent(ledger, new, "one")
    hold = await held(ledger)
    turn = await taken(ledger, hold)
    assert await ledger.transact(turns.keep(hold, turn, "kept")) is Fenced.DONE
    assert await ledger.transact(hosting.renew(hold, 0)) is Fenced.DONE  # and its lease is over
    await sent(ledger, new, "two")
    ledger = await open_ledger()
    successor = await held(ledger, "second")
    again = await taken(ledger, successor)
    assert (again.number, again.key, again.request, again.answer) == (turn.number, turn.key, turn.request, "kept")
    assert await ended(ledger, hold, turn, "too late") is Fenced.LOST
    assert await ledger.transact(turns.keep(hold, turn, "too late")) is Fenced.LOST
    assert await ledger.transact(turns.take(hold, compose, 0)) is Fenced.LOST
    failed = turns.fail(hold, turn, "too late", 0, over=True, blocked=False)
    assert await ledger.transact(failed) is Fenced.LOST
    assert await ended(ledger, successor, again) is Fenced.DONE
    assert await ended(ledger, successor, again) is Fenced.LOST  # once


@pytest.mark.parametrize("over", [True, False])
async def test_a_failed_turn_stops_its_card_and_no_other(ledger: Ledger, *, over: bool) -> None:
    paying = await session(ledger)
    broken, well = new_card(paying, 1, title="t"), new_card(paying, 2, title="t")
    for new in (broken, well):
        await made(ledger, new)
    for body, new in (("a", broken), ("b", broken), ("c", well)):
        await sent(ledger, new, body)
    hold = await held(ledger)
    turn = await taken(ledger, hold)
    await ledger.transact(turns.fail(hold, turn, "it broke", 0, over=over, blocked=False))
    card = await shown(ledger, broken)
    assert (card.status, card.last_error, card.waiting) == (CardStatus.ERROR, "it broke", 1)
    other = await taken(ledger, hold)
    assert other.card == well.id
    await ended(ledger, hold, other)
    assert await ledger.transact(turns.take(hold, compose, 0)) is None
    assert await ledger.transact(shelf.try_again(paying, broken.id, 0)) is Written.DONE
    assert (await shown(ledger, broken)).last_error is None
    again = await taken(ledger, hold)
    assert (again.number, again.line) == (turn.number, 1)
    # A key is kept for as long as the charge under it is not known.
    assert (again.key == turn.key) is not over
    await ended(ledger, hold, again)
    assert (await taken(ledger, hold)).line == 2


async def test_a_message_after_an_error_tries_again_first(ledger: Ledger) -> None:
    new = new_card(await session(ledger), title="t")
    await made(ledger, new)
    await sent(ledger, new, "one")
    hold = await held(ledger)
    turn = await taken(ledger, hold)
    await ledger.transact(turns.fail(hold, turn, "it broke", 0, over=True, blocked=False))
    await sent(ledger, new, "two")
    assert (await taken(ledger, hold)).line == 1


async def test_a_message_with_a_key_is_written_once(ledger: Ledger) -> None:
    new = new_card(await session(ledger), title="t")
    await made(ledger, new)
    written = await asyncio.gather(*(sent(ledger, new, "once", key="k") for _ in range(5)))
    assert written == [Written.DONE] * 5
    assert await sent(ledger, new, "another", key="k") is Written.CONFLICT
    card = await shown(ledger, new)
    assert (card.lines, card.waiting) == (1, 1)


async def test_messages_at_once_get_a_line_each(ledger: Ledger) -> None:
    new = new_card(await session(ledger), title="t")
    await made(ledger, new)
    await asyncio.gather(*(sent(ledger, new, f"message {number}") for number in range(20)))
    found = await ledger.look(shelf.lines(new.id, 0, 100))
    assert [line.number for line in found] == list(range(1, 21))
    assert {line.body for line in found} == {f"message {number}" for number in range(20)}


async def test_an_archived_card_takes_nothing_and_costs_nothing(ledger: Ledger) -> None:
    paying = await session(ledger)
    new = new_card(paying, title="t")
    await made(ledger, new)
    await sent(ledger, new, "one")
    for _ in range(2):
        assert await ledger.transact(shelf.archive(paying, new.id, 5)) is Written.DONE
    assert await sent(ledger, new, "two") is Written.ARCHIVED
    titled = shelf.set_title(paying, new.id, "other", TitleSource.PERSON, 1)
    assert await ledger.transact(titled) is Written.ARCHIVED
    assert await ledger.transact(turns.take(await held(ledger), compose, 0)) is None
    assert (await shown(ledger, new)).status is CardStatus.ARCHIVED


async def test_an_answer_that_was_under_way_when_its_card_was_archived_is_kept(ledger: Ledger) -> None:
    paying = await session(ledger)
    new = new_card(paying, title="t")
    await made(ledger, new)
    await sent(ledger, new, "one")
    hold = await held(ledger)
    turn = await taken(ledger, hold)
    await ledger.transact(shelf.archive(paying, new.id, 5))
    assert await ended(ledger, hold, turn) is Fenced.DONE
    assert (await shown(ledger, new)).lines == 2


async def test_cards_are_listed_archived_or_not_last_changed_first(ledger: Ledger) -> None:
    paying = await session(ledger)
    cards = [new_card(paying, number, title="t") for number in range(1, 6)]
    for new in [*cards, new_card(paying, 9, scope=CardScope.MAIN)]:
        await made(ledger, new)
    await ledger.transact(shelf.archive(paying, cards[1].id, 5))

    async def listed(*, archived: bool, before: int = 2**62, before_id: str = "", limit: int = 10) -> list[str]:
        steps = shelf.listed(paying, archived=archived, before=before, before_id=before_id, limit=limit)
        return [card.id for card in await ledger.look(steps)]

    assert await listed(archived=True) == [cards[1].id]
    assert await listed(archived=False) == [cards[place].id for place in (4, 3, 2, 0)]
    assert await listed(archived=False, limit=2) == [cards[4].id, cards[3].id]
    last = await shown(ledger, cards[3])
    assert await listed(archived=False, before=last.updated_at, before_id=last.id) == [cards[2].id, cards[0].id]


async def test_one_process_holds_a_responder_and_its_home_comes_first(ledger: Ledger) -> None:
    async def hold(owner: str, node: str) -> Hold | None:
        return await ledger.transact(hosting.hold("ada", "north", Seat(owner, node, 30)))

    first = await hold("s1", "south")  # nobody is at home
    assert first is not None
    assert await hold("s2", "south") is None
    await ledger.transact(hosting.beat(Seat("n1", "north", 30)))
    assert await hold("s1", "south") is None  # home is back: after its turn it goes home
    assert await ledger.transact(hosting.renew(first, 30)) is Fenced.DONE
    assert await hold("n1", "north") is None
    await ledger.transact(hosting.let_go("ada", "s1"))
    home = await hold("n1", "north")
    assert home is not None
    assert home.fence > first.fence
    assert await ledger.transact(hosting.renew(first, 30)) is Fenced.LOST
    assert [(one.name, one.node, one.online) for one in await ledger.look(hosting.responders())] == [
        ("ada", "north", True)
    ]


async def test_a_hold_ends_with_its_lease(ledger: Ledger) -> None:
    first = await held(ledger, "one")
    assert await held(ledger, "one", seconds=0) == first
    assert [one.online for one in await ledger.look(hosting.responders())] == [False]
    assert await ledger.transact(hosting.renew(first, 30)) is Fenced.LOST
    assert (await held(ledger, "two")).fence > first.fence


async def test_what_a_dead_process_held_is_free_where_no_other_can_be(ledger: Ledger) -> None:
    first = await held(ledger, "one")
    await ledger.transact(hosting.evict_all())
    assert (await held(ledger, "two")).fence > first.fence


async def test_of_racing_hosts_one_holds(ledger: Ledger) -> None:
    tries = [ledger.transact(hosting.hold("ada", "", Seat(f"owner-{number}", "", 30))) for number in range(10)]
    assert sum(hold is not None for hold in await asyncio.gather(*tries)) == 1


async def test_events_are_numbered_without_a_gap_and_kept_for_their_session(ledger: Ledger) -> None:
    paying, other = await session(ledger), await session(ledger, 2)
    await asyncio.gather(*(made(ledger, new_card(paying, number)) for number in range(1, 11)))
    await made(ledger, new_card(other, 11))
    found = await events_after(ledger, paying, 0)
    assert [one.number for one in found] == list(range(1, 11))
    assert {one.event.scope for one in found} == {"card"}
    assert [one.number for one in await events_after(ledger, paying, 8)] == [9, 10]
    assert found[0].to_json()["session_id"] == paying
    assert len(await events_after(ledger, other, 0)) == 1


async def test_old_events_go(ledger: Ledger) -> None:
    paying = await session(ledger)

    def many() -> Steps[None]:
        for _ in range(KEPT + 10):
            yield from shelf.changed(paying, "x", CardScope.CARD, 1, {})

    await ledger.transact(many())
    found = await events_after(ledger, paying, 0, limit=2 * KEPT)
    assert [found[0].number, found[-1].number] == [11, KEPT + 10]


async def test_the_bell_rings_for_other_processes_too(ledger: Ledger) -> None:
    paying = await session(ledger)
    async with ledger.listening() as bell:
        ring = bell.next()
        if ledger.shared:
            await asyncio.wait_for(ring.wait(), 10)  # once it listens
            ring = bell.next()
        await made(ledger, new_card(paying))
        await asyncio.wait_for(ring.wait(), 10)
