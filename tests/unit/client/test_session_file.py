"""The session file: what it keeps, whom it lets read, and what it survives."""

import asyncio
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.channels.channel_json import channel_from_json, channel_to_json
from retainer.cli.session_file import FileChannelStore
from retainer.errors import StoreError
from retainer.flows.opening import build_opening
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, URL


async def channel_of(stage: Stage) -> Channel:
    (offer,) = await stage.client.offers(URL)
    deposit = base_units(1_000_000)
    return build_opening(offer, stage.agent, deposit=deposit, salt=7, token_program=TOKEN_PROGRAM_ID, now=NOW)


async def test_another_process_finds_the_session_and_goes_on_with_it(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "state" / "sessions.json"
    for number in range(1, 4):
        async with stage.another(store=FileChannelStore(path)) as client:
            response = await client.request("GET", URL)
            assert response.extensions["retainer"].retainer.metered.sequence == number
    assert stage.service.opened == 1
    async with stage.another(store=FileChannelStore(path)) as client:
        (session,) = await client.sessions()
        closed = await client.close_session(session.session_id)
        assert (closed.view.requests_made, closed.settled) == (3, 24_000)


async def test_the_file_is_private_from_the_first_byte(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    await FileChannelStore(path).set(await channel_of(stage))
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.with_suffix(".new").exists()


async def test_it_keeps_finds_and_forgets(stage: Stage, tmp_path: Path) -> None:
    store, payer = FileChannelStore(tmp_path / "sessions.json"), stage.agent.pubkey()
    first = (await channel_of(stage)).opened()
    second = replace(first, address=Pubkey.new_unique())
    assert await store.channels(payer) == []
    for channel in (first, second):
        await store.set(channel)
    assert await store.channels(payer) == [first, second]
    assert await store.get(payer, first.scope) == second
    assert await store.find(payer, first.session_id) == first
    assert await store.find(Pubkey.new_unique(), first.session_id) is None
    await store.delete(Pubkey.new_unique(), first.session_id)
    await store.delete(payer, second.session_id)
    assert await store.channels(payer) == [first]


async def test_what_is_known_to_be_spent_never_shrinks(stage: Stage, tmp_path: Path) -> None:
    store, channel = FileChannelStore(tmp_path / "sessions.json"), await channel_of(stage)
    await store.set(channel.with_book(channel.book.sent("a").totalled("a", base_units(8), 8)))
    with pytest.raises(StoreError, match="changed elsewhere"):
        await store.set(channel)


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '[{"version": "1"}]', "[1.5]"])
async def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sessions.json"
    path.write_text(text)
    with pytest.raises(StoreError):
        await FileChannelStore(path).channels(Pubkey.new_unique())
    assert path.read_text() == text


async def test_a_folder_that_cannot_be_written_is_named(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be"):
        await FileChannelStore(tmp_path / "file" / "sessions.json").set(await channel_of(stage))


def write_many(path: Path, record: dict[str, object]) -> None:
    """Add ten sessions, as one of several commands at once."""
    store, channel = FileChannelStore(path), channel_from_json(record)

    async def write() -> None:
        for _ in range(10):
            await store.set(replace(channel, address=Keypair().pubkey()))

    asyncio.run(write())


async def test_commands_at_once_lose_nothing_of_each_other(stage: Stage, tmp_path: Path) -> None:
    path, record = tmp_path / "sessions.json", channel_to_json(await channel_of(stage))
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_many, args=(path, record)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join)
        assert writer.exitcode == 0
    assert len(json.loads(path.read_text())) == 30
