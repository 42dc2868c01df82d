"""What every store of sessions promises: scopes, payers, guards, unknown fields, and nothing but its own errors."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.channels.channel import Channel, Settlement
from retainer.channels.channel_json import channel_from_json, channel_to_json
from retainer.errors import CapError, StoreError, UnknownSessionError
from retainer.protocol.amounts import base_units
from retainer.stores import (
    ChannelScope,
    SessionStore,
    create_channel_store,
    create_json_channel_store,
    create_sqlite_channel_store,
    entry_key,
)
from tests.contract.channels import NOW, AsyncKv, DictKv, a_channel

OpenStore: TypeAlias = Callable[[], SessionStore]

U64_MAX = 2**64 - 1


@pytest.fixture(params=["memory", "json", "json-async", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the same records each time, as the next process does; those in memory live as long as their store."""
    in_memory, plain, waiting = create_channel_store(), DictKv(), AsyncKv()
    openers: dict[str, OpenStore] = {
        "memory": lambda: in_memory,
        "json": lambda: create_json_channel_store(plain),
        "json-async": lambda: create_json_channel_store(waiting),
        "sqlite": lambda: create_sqlite_channel_store(tmp_path / "state" / "sessions.sqlite"),
    }
    return openers[request.param]


@pytest.fixture
def agent() -> Keypair:
    return Keypair()


async def test_an_empty_store_has_nothing(open_store: OpenStore, agent: Keypair) -> None:
    store, payer, channel = open_store(), agent.pubkey(), a_channel(agent)
    assert await store.channels(payer) == []
    assert await store.get(channel.scope) is None
    assert await store.find(payer, channel.session_id) is None
    await store.forget(payer, channel.session_id)


async def test_the_next_process_finds_what_was_kept(open_store: OpenStore, agent: Keypair) -> None:
    channel = a_channel(agent)
    await open_store().set(channel.scope, channel)
    assert await open_store().find(agent.pubkey(), channel.session_id) == channel
    assert await open_store().get(channel.scope) == channel
    assert await open_store().channels(agent.pubkey()) == [channel]


async def test_a_choice_sees_all_sessions_of_the_payer_and_is_kept(open_store: OpenStore, agent: Keypair) -> None:
    store, first, second = open_store(), a_channel(agent), a_channel(agent)
    foreign = a_channel(Keypair())
    await store.set(foreign.scope, foreign)
    seen: list[list[Channel]] = []

    def choice(kept: list[Channel]) -> Channel:
        seen.append(kept)
        return kept[0].opened() if kept else first

    assert await store.choose(agent.pubkey(), choice) == first
    assert await store.choose(agent.pubkey(), choice) == first.opened()
    assert seen == [[], [first]]
    assert await open_store().channels(agent.pubkey()) == [first.opened()]
    await store.set(second.scope, second)
    with pytest.raises(StoreError, match="would go down"):
        await store.choose(agent.pubkey(), lambda kept: replace(kept[1], deposit=base_units(1)))
    assert await open_store().channels(agent.pubkey()) == [first.opened(), second]


async def test_a_choice_that_refuses_keeps_nothing(open_store: OpenStore, agent: Keypair) -> None:
    def refuse(_kept: list[Channel]) -> Channel:
        raise CapError("too much")

    with pytest.raises(CapError, match="too much"):
        await open_store().choose(agent.pubkey(), refuse)
    assert await open_store().channels(agent.pubkey()) == []


async def test_the_latest_usable_session_of_a_scope_pays(open_store: OpenStore, agent: Keypair) -> None:
    store, payer = open_store(), agent.pubkey()
    first, second = a_channel(agent).opened(), a_channel(agent).opened()
    for channel in (first, second):
        await store.set(channel.scope, channel)
    assert await store.get(first.scope) == second
    # A later write of the first does not make it the later one.
    await store.set(first.scope, first.with_book(first.book.sent("key")))
    assert await store.get(first.scope) == second
    await store.set(second.scope, second.closing())
    assert await store.get(first.scope) == first.with_book(first.book.sent("key"))
    assert [kept.session_id for kept in await store.channels(payer)] == [first.session_id, second.session_id]


@pytest.mark.parametrize(
    "end",
    [
        Channel.abandoned,
        lambda channel: channel.disputed("it lied"),
        lambda channel: channel.settled(Settlement("5" * 64, base_units(0), base_units(1_000_000)), at=NOW),
    ],
)
async def test_a_session_that_is_over_pays_nothing_and_can_still_be_looked_at(
    open_store: OpenStore, agent: Keypair, end: Callable[[Channel], Channel]
) -> None:
    store, channel = open_store(), a_channel(agent).opened()
    await store.set(channel.scope, channel)
    await store.set(channel.scope, end(channel))
    assert await store.get(channel.scope) is None
    assert await store.find(agent.pubkey(), channel.session_id) == end(channel)


async def test_deleting_forgets_one_session(open_store: OpenStore, agent: Keypair) -> None:
    store, payer = open_store(), agent.pubkey()
    first, second = a_channel(agent), a_channel(agent)
    for channel in (first, second):
        await store.set(channel.scope, channel)
    await store.forget(payer, second.session_id)
    await store.forget(payer, second.session_id)
    assert await store.find(payer, second.session_id) is None
    assert await store.channels(payer) == [first]
    assert await store.get(first.scope) == first


async def test_payers_do_not_see_each_others_sessions(open_store: OpenStore, agent: Keypair) -> None:
    store, stranger, channel = open_store(), Keypair(), a_channel(agent)
    await store.set(channel.scope, channel)
    assert await store.get(replace(channel.scope, payer=stranger.pubkey())) is None
    assert await store.find(stranger.pubkey(), channel.session_id) is None
    assert await store.channels(stranger.pubkey()) == []
    await store.forget(stranger.pubkey(), channel.session_id)
    with pytest.raises(UnknownSessionError):
        await store.update(stranger.pubkey(), channel.session_id, Channel.opened)
    assert await store.channels(agent.pubkey()) == [channel]
    assert entry_key(replace(channel.scope, payer=stranger.pubkey())) != entry_key(channel.scope)


async def test_other_scopes_find_nothing(open_store: OpenStore, agent: Keypair) -> None:
    store, channel = open_store(), a_channel(agent)
    await store.set(channel.scope, channel)
    for other in (
        replace(channel.scope, payee=Pubkey.new_unique()),
        replace(channel.scope, token=Pubkey.new_unique()),
        replace(channel.scope, program=Pubkey.new_unique()),
        replace(channel.scope, cluster="devnet"),
        replace(channel.scope, origin="https://other.example:443"),
        replace(channel.scope, offer_id="premium"),
        replace(channel.scope, payer=None),
    ):
        assert await store.get(other) is None


def plain_scope(channel: Channel) -> ChannelScope:
    """The payment scope proper, which says nothing of payer, origin and offer."""
    scope = channel.scope
    return ChannelScope(payee=scope.payee, token=scope.token, program=scope.program, cluster=scope.cluster)


async def test_a_scope_of_its_four_parts_alone_keeps_and_finds(open_store: OpenStore, agent: Keypair) -> None:
    first, second = a_channel(agent).opened(), a_channel(agent).opened()
    scope = plain_scope(first)
    assert await open_store().get(scope) is None
    for channel in (first, second):
        await open_store().set(scope, channel)
    assert await open_store().get(scope) == second
    assert await open_store().get(second.scope) is None, "it was kept under less than all it pays for"
    opened = await open_store().update(agent.pubkey(), second.session_id, lambda kept: kept.disputed("it lied"))
    assert not opened.usable
    assert await open_store().get(scope) == first, "a change leaves a session where it stands"
    await open_store().delete(scope)
    await open_store().delete(scope)
    assert await open_store().get(scope) is None
    assert await open_store().channels(agent.pubkey()) == []


async def test_a_session_can_be_moved_to_another_scope(open_store: OpenStore, agent: Keypair) -> None:
    store, channel = open_store(), a_channel(agent).opened()
    await store.set(plain_scope(channel), channel)
    await store.set(channel.scope, channel)
    assert await store.get(plain_scope(channel)) is None
    assert await store.get(channel.scope) == channel
    assert await store.channels(agent.pubkey()) == [channel]


async def test_a_session_is_not_kept_under_what_it_cannot_pay_for(open_store: OpenStore, agent: Keypair) -> None:
    store, channel = open_store(), a_channel(agent)
    for other in (
        replace(channel.scope, token=Pubkey.new_unique()),
        replace(channel.scope, payer=Pubkey.new_unique()),
        replace(channel.scope, origin="https://other.example:443"),
        replace(plain_scope(channel), cluster="mainnet"),
    ):
        with pytest.raises(StoreError, match="pays for something else"):
            await store.set(other, channel)
    assert await store.channels(agent.pubkey()) == []


async def test_deleting_a_scope_leaves_other_scopes_and_payers_alone(open_store: OpenStore, agent: Keypair) -> None:
    store, stranger = open_store(), Keypair()
    mine, foreign = a_channel(agent), a_channel(stranger)
    await store.set(mine.scope, mine)
    await store.set(foreign.scope, foreign)
    await store.delete(mine.scope)
    await store.delete(plain_scope(foreign))
    assert await store.find(agent.pubkey(), mine.session_id) is None
    assert await store.get(foreign.scope) == foreign


async def test_deposit_and_totals_never_go_down(open_store: OpenStore, agent: Keypair) -> None:
    store, payer = open_store(), agent.pubkey()
    empty = a_channel(agent).opened()
    # Of another number of digits: the comparison is of numbers, not of texts.
    spent = empty.with_book(empty.book.sent("a").totalled("a", base_units(10), 10))
    await store.set(spent.scope, spent)
    for lower in (
        empty,
        replace(spent, deposit=base_units(999_999)),
        spent.with_book(replace(spent.book, spent=base_units(9))),
        spent.with_book(replace(spent.book, charged=base_units(9))),
    ):
        with pytest.raises(StoreError, match="would go down"):
            await store.set(lower.scope, lower)
        with pytest.raises(StoreError, match="would go down"):
            await store.update(payer, spent.session_id, lambda _kept, lower=lower: lower)  # type: ignore[misc]
    assert await store.find(payer, spent.session_id) == spent
    grown = replace(spent, deposit=base_units(2_000_000))
    await store.set(grown.scope, grown)
    assert await store.find(payer, spent.session_id) == grown


async def test_amounts_of_64_bits_are_kept_exactly(open_store: OpenStore, agent: Keypair) -> None:
    store, channel = open_store(), a_channel(agent, deposit=U64_MAX)
    full = channel.with_book(replace(channel.book, spent=base_units(U64_MAX), charged=base_units(U64_MAX - 1)))
    await store.set(channel.scope, channel)
    await store.set(full.scope, full)
    kept = await store.find(agent.pubkey(), channel.session_id)
    assert kept is not None
    assert (kept.deposit, kept.book.spent, kept.book.charged) == (U64_MAX, U64_MAX, U64_MAX - 1)
    with pytest.raises(StoreError, match="would go down"):
        await store.set(full.scope, full.with_book(replace(full.book, spent=base_units(U64_MAX - 1))))


async def test_fields_of_a_newer_version_survive(open_store: OpenStore, agent: Keypair) -> None:
    later = {"nextThing": {"deep": ["1"]}, "another": None}
    channel = channel_from_json({**channel_to_json(a_channel(agent)), **later})
    await open_store().set(channel.scope, channel)
    await open_store().update(agent.pubkey(), channel.session_id, Channel.opened)
    kept = await open_store().find(agent.pubkey(), channel.session_id)
    assert kept is not None
    written = channel_to_json(kept)
    assert {name: written[name] for name in later} == later
    assert written["state"] == "active"
    assert "opening" not in written


async def test_changes_at_once_lose_nothing_of_each_other(open_store: OpenStore, agent: Keypair) -> None:
    store, channel = open_store(), a_channel(agent)
    await store.set(channel.scope, channel)

    async def send(key: str) -> None:
        await store.update(agent.pubkey(), channel.session_id, lambda kept: kept.with_book(kept.book.sent(key)))

    await asyncio.gather(*(send(str(number)) for number in range(20)))
    kept = await store.find(agent.pubkey(), channel.session_id)
    assert kept is not None
    assert set(kept.book.outstanding) == {str(number) for number in range(20)}


async def test_a_change_that_fails_changes_nothing(open_store: OpenStore, agent: Keypair) -> None:
    store, channel = open_store(), a_channel(agent)
    await store.set(channel.scope, channel)

    def fail(_kept: Channel) -> Channel:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.update(agent.pubkey(), channel.session_id, fail)
    assert await store.find(agent.pubkey(), channel.session_id) == channel
    opened = await store.update(agent.pubkey(), channel.session_id, Channel.opened)
    assert opened == channel.opened()


async def test_a_name_is_held_by_one_at_a_time(open_store: OpenStore) -> None:
    store = open_store()
    with store.hold("key") as first, store.hold("key") as second, store.hold("another/key") as other:
        assert (first, second, other) == (True, False, True)
    with store.hold("key") as again:
        assert again


def test_records_are_json_that_other_languages_read_exactly(agent: Keypair) -> None:
    def refuse(number: str) -> float:
        raise AssertionError(number)

    record = json.dumps(channel_to_json(a_channel(agent, deposit=U64_MAX)))
    safe = json.loads(record, parse_float=refuse)
    assert safe["deposit"] == str(U64_MAX)
