"""The session file: whom it lets read, what it survives, and that processes share it without losing a write."""

import asyncio
import multiprocessing
import random
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair

from retainer.channels.channel import Channel
from retainer.channels.channel_json import channel_from_json, channel_to_json
from retainer.channels.spending import DAY
from retainer.errors import CapError, StoreError
from retainer.flows.exposure import exposures
from retainer.stores import create_sqlite_channel_store
from retainer.trust.caps import Deposited, SpendingCaps
from tests.contract.channels import NOW, a_channel
from tests.contract.spending import CAP, Charges, Spender, most_within_a_day

WRITERS, KEYS, DEEDS, HOLDS = 3, 10, 60, 200


async def test_the_file_is_private_from_the_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "state" / "sessions.sqlite"
    channel = a_channel(Keypair())
    await create_sqlite_channel_store(path).set(channel.scope, channel)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no journal stays behind"


async def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    path.write_bytes(b"not a database, and long enough to look at")
    with pytest.raises(StoreError, match="cannot be used"):
        await create_sqlite_channel_store(path).channels(Keypair().pubkey())
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("record", ["", "{", "{}", "[1]", '{"version": "2"}'])
async def test_a_damaged_record_is_refused(tmp_path: Path, record: str) -> None:
    path, channel = tmp_path / "sessions.sqlite", a_channel(Keypair())
    store = create_sqlite_channel_store(path)
    await store.set(channel.scope, channel)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE sessions SET record = ?", (record,))
    with pytest.raises(StoreError, match="cannot be read"):
        await store.find(channel.payer, channel.session_id)


async def test_a_file_of_the_first_version_is_read_and_taken_over(tmp_path: Path) -> None:
    path, agent = tmp_path / "sessions.sqlite", Keypair()
    channel = a_channel(agent)
    await create_sqlite_channel_store(path).set(channel.scope, channel)
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE sessions DROP COLUMN signed")
        db.execute("PRAGMA user_version = 1")
    store = create_sqlite_channel_store(path)
    assert await store.find(agent.pubkey(), channel.session_id) == channel
    await store.set(channel.scope, channel.opened())
    assert await store.find(agent.pubkey(), channel.session_id) == channel.opened()


async def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path, channel = tmp_path / "sessions.sqlite", a_channel(Keypair())
    store = create_sqlite_channel_store(path)
    await store.set(channel.scope, channel)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 3")
    with pytest.raises(StoreError, match="another version"):
        await store.set(channel.scope, channel)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store, channel = create_sqlite_channel_store(tmp_path / "file" / "sessions.sqlite"), a_channel(Keypair())
    with pytest.raises(StoreError, match="cannot be opened"):
        await store.set(channel.scope, channel)


def send_many(path: Path, record: dict[str, object], writer: int) -> None:
    """Note ten requests in one session and open one more, as one of several workers at once."""
    store, channel = create_sqlite_channel_store(path), channel_from_json(record)

    async def send() -> None:
        for number in range(KEYS):
            key = f"{writer}-{number}"
            await store.update(channel.payer, channel.session_id, lambda kept: kept.with_book(kept.book.sent(key)))  # noqa: B023  called at once

    asyncio.run(send())


async def test_workers_that_share_a_session_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path, channel = tmp_path / "sessions.sqlite", a_channel(Keypair())
    await create_sqlite_channel_store(path).set(channel.scope, channel)
    spawn = multiprocessing.get_context("spawn")
    record = channel_to_json(channel)
    writers = [spawn.Process(target=send_many, args=(path, record, writer)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join)
        assert writer.exitcode == 0
    kept = await create_sqlite_channel_store(path).find(channel.payer, channel.session_id)
    assert kept is not None
    assert set(kept.book.outstanding) == {f"{writer}-{number}" for writer in range(WRITERS) for number in range(KEYS)}


def open_many(path: Path, seed: bytes, worker: int, *, sole: bool) -> None:
    """Try to open five sessions of one token each, within a cap of four a day, or only where there is none."""
    agent, caps = Keypair.from_seed(seed), SpendingCaps(per_day="4.0")
    store = create_sqlite_channel_store(path)

    async def open_five() -> None:
        for number in range(5):
            channel = a_channel(agent, salt=100 * worker + number)
            deposit = Deposited(NOW, channel.scope.token, channel.deposit, channel.scope.origin)

            def choice(kept: list[Channel]) -> Channel:
                if sole and kept:
                    return kept[0]
                caps.require_deposit(deposit, 6, exposures(kept, NOW))  # noqa: B023  called at once
                return channel  # noqa: B023  called at once

            with suppress(CapError):
                await store.choose(agent.pubkey(), choice)

    asyncio.run(open_five())


@pytest.mark.parametrize(("sole", "opened"), [(False, 4), (True, 1)], ids=["within a cap", "one session"])
async def test_processes_on_one_file_keep_together_to_what_one_may_do(
    tmp_path: Path, opened: int, *, sole: bool
) -> None:
    path, seed = tmp_path / "sessions.sqlite", b"a" * 32
    spawn = multiprocessing.get_context("spawn")
    workers = [
        spawn.Process(target=open_many, args=(path, seed, worker), kwargs={"sole": sole}) for worker in range(WRITERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * WRITERS
    channels = await create_sqlite_channel_store(path).channels(Keypair.from_seed(seed).pubkey())
    assert len(channels) == opened


def spend_many(path: Path, seed: bytes, worker: int, clock: Any, told: Any) -> None:  # noqa: ANN401
    """Spend for days, by a clock that all workers share and each one moves on."""
    spender, pick = Spender(create_sqlite_channel_store(path), Keypair.from_seed(seed), worker), random.Random(worker)

    async def spend() -> None:
        for _ in range(DEEDS):
            with clock.get_lock():
                clock.value += pick.randint(0, DAY // 10)
                now = clock.value
            await spender.act(pick, now)

    asyncio.run(spend())
    told.put((spender.charges, spender.refused))


async def test_processes_together_are_never_charged_more_within_a_day_than_the_cap(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    clock, told = spawn.Value("q", NOW), spawn.Queue()
    workers = [
        spawn.Process(target=spend_many, args=(tmp_path / "sessions.sqlite", b"a" * 32, worker, clock, told))
        for worker in range(WRITERS)
    ]
    for worker in workers:
        worker.start()
    results: list[tuple[Charges, int]] = [await asyncio.to_thread(told.get) for _ in workers]
    for worker in workers:
        worker.join()
    charges = [charge for of_worker, _ in results for charge in of_worker]
    assert sum(refused for _, refused in results), "the cap was reached"
    assert sum(amount for _, amount in charges) > CAP, "and over the days more than one cap was spent"
    assert 0 < most_within_a_day(charges) <= CAP


def hold_until_killed(path: Path, held: Any) -> None:  # noqa: ANN401
    """Hold a name and wait for the end."""
    with create_sqlite_channel_store(path).hold("key") as mine:
        held.put(mine)
        time.sleep(600)


async def test_what_a_process_holds_is_free_when_it_is_killed(tmp_path: Path) -> None:
    spawn, path = multiprocessing.get_context("spawn"), tmp_path / "sessions.sqlite"
    held = spawn.Queue()
    worker = spawn.Process(target=hold_until_killed, args=(path, held))
    worker.start()
    assert await asyncio.to_thread(held.get) is True
    store = create_sqlite_channel_store(path)
    with store.hold("key") as mine:
        assert not mine
    worker.kill()
    await asyncio.to_thread(worker.join)
    with store.hold("key") as mine, create_sqlite_channel_store(path).hold("key") as other:
        assert (mine, other) == (True, False)
    folder = tmp_path / "sessions.sqlite.held"
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_locked_in_is_named(tmp_path: Path) -> None:
    (tmp_path / "sessions.sqlite.held").write_text("")
    with (
        pytest.raises(StoreError, match="cannot be locked"),
        create_sqlite_channel_store(tmp_path / "sessions.sqlite").hold("key"),
    ):
        raise AssertionError


def hold_and_let_go(path: Path, told: Any) -> None:  # noqa: ANN401
    """Count up a file whenever the name is held: without a lock, counts would be lost."""
    store, counter, held = create_sqlite_channel_store(path), path.with_name("count"), 0
    while held < HOLDS:
        with store.hold("key") as mine:
            if mine:
                counter.write_text(str(int(counter.read_text()) + 1))
                held += 1
    told.put(held)


async def test_no_two_processes_hold_a_name_at_once(tmp_path: Path) -> None:
    spawn, counter = multiprocessing.get_context("spawn"), tmp_path / "count"
    counter.write_text("0")
    told = spawn.Queue()
    workers = [spawn.Process(target=hold_and_let_go, args=(tmp_path / "sessions.sqlite", told)) for _ in range(WRITERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        await asyncio.to_thread(worker.join)
    assert [told.get() for _ in workers] == [HOLDS] * WRITERS
    assert int(counter.read_text()) == WRITERS * HOLDS
