"""Key-value stores that return garbage, fail, or lose writes: a StoreError, and never a wrong session."""

from dataclasses import replace

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.errors import StoreError
from retainer.stores import SessionStore, create_json_channel_store, entry_key
from tests.contract.channels import DictKv, a_channel

GARBAGE = ["", "{", "[]", "null", "{}", "\ud800", '{"version":"2"}', '{"version":"1","sessions":[]}', b"{}", 7]


class FailingKv(DictKv):
    """Fails where it is told to."""

    failing: str = ""

    def _maybe_fail(self, name: str) -> None:
        if name == self.failing:
            raise ConnectionError("no network")

    def get(self, key: str) -> str | None:
        self._maybe_fail("get")
        return super().get(key)

    def set(self, key: str, value: str) -> None:
        self._maybe_fail("set")
        super().set(key, value)

    def delete(self, key: str) -> None:
        self._maybe_fail("delete")
        super().delete(key)


class ForgetfulKv(DictKv):
    """Loses the write of that number, and tells nobody."""

    writes: int = 0
    lost: int = 0

    def set(self, key: str, value: str) -> None:
        self.writes += 1
        if self.writes != self.lost:
            super().set(key, value)


async def read_everything(store: SessionStore, channel: Channel) -> None:
    """Each way in which a session can be read, until one raises."""
    payer = channel.payer
    await store.find(payer, channel.session_id)
    await store.get(channel.scope)
    await store.channels(payer)


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("which", ["session", "sessions", "scope"])
async def test_garbage_is_refused(which: str, garbage: str) -> None:
    kv, channel = DictKv(), a_channel(Keypair())
    await create_json_channel_store(kv).set(channel.scope, channel)
    (key,) = (key for key in kv.texts if key.split(":")[1] == which)
    kv.texts[key] = garbage
    with pytest.raises(StoreError):
        await read_everything(create_json_channel_store(kv), channel)


async def test_a_record_under_another_ones_key_is_not_taken_for_it() -> None:
    kv, agent = DictKv(), Keypair()
    first, second, foreign = a_channel(agent), a_channel(agent), a_channel(Keypair())
    store = create_json_channel_store(kv)
    for channel in (first, second, foreign):
        await store.set(channel.scope, channel)
    (key,) = (key for key in kv.texts if first.session_id in key and "session:" in key)
    for wrong in (second, foreign):
        kv.texts[key] = next(text for name, text in kv.texts.items() if name.endswith(wrong.session_id))
        with pytest.raises(StoreError, match="holds session"):
            await store.find(agent.pubkey(), first.session_id)


async def test_an_index_that_files_a_session_wrongly_is_refused() -> None:
    kv, agent = DictKv(), Keypair()
    channel, store = a_channel(agent), create_json_channel_store(kv)
    await store.set(channel.scope, channel)
    other = replace(channel.scope, payee=Pubkey.new_unique())
    kv.texts[f"retainer:scope:{entry_key(other)}"] = kv.texts[f"retainer:scope:{entry_key(channel.scope)}"]
    with pytest.raises(StoreError, match="something else"):
        await store.get(other)


@pytest.mark.parametrize("failing", ["get", "set", "delete"])
async def test_failures_are_store_errors_with_their_cause(failing: str) -> None:
    kv, channel = FailingKv(), a_channel(Keypair())
    store = create_json_channel_store(kv)
    await store.set(channel.scope, channel)
    kv.failing = failing
    attempt = (
        store.forget(channel.payer, channel.session_id) if failing == "delete" else store.set(channel.scope, channel)
    )
    with pytest.raises(StoreError, match="no network") as caught:
        await attempt
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_lost_write_is_found_out_at_once_and_the_store_goes_on(lost: int) -> None:
    kv, channel = ForgetfulKv(), a_channel(Keypair())
    kv.lost = lost
    store = create_json_channel_store(kv)
    with pytest.raises(StoreError, match="did not keep"):
        await store.set(channel.scope, channel)
    assert await store.get(channel.scope) is None
    await store.set(channel.scope, channel)
    assert await store.channels(channel.payer) == [channel]
    assert await store.get(channel.scope) == channel


async def test_a_lost_update_is_found_out_at_once() -> None:
    kv, channel = ForgetfulKv(), a_channel(Keypair())
    store = create_json_channel_store(kv)
    await store.set(channel.scope, channel)
    kv.lost = kv.writes + 1
    with pytest.raises(StoreError, match="did not keep"):
        await store.update(channel.payer, channel.session_id, Channel.opened)


async def test_a_record_that_vanished_is_reported_with_its_address() -> None:
    kv, channel = DictKv(), a_channel(Keypair())
    store = create_json_channel_store(kv)
    await store.set(channel.scope, channel)
    del kv.texts[next(key for key in kv.texts if key.endswith(channel.session_id))]
    with pytest.raises(StoreError, match=f"lost session {channel.session_id}"):
        await store.channels(channel.payer)


async def test_a_session_is_read_without_reading_the_others() -> None:
    class CountingKv(DictKv):
        reads = 0

        def get(self, key: str) -> str | None:
            self.reads += 1
            return super().get(key)

    kv, agent = CountingKv(), Keypair()
    store = create_json_channel_store(kv)
    channels = [a_channel(agent) for _ in range(5)]
    for channel in channels:
        await store.set(channel.scope, channel)
    kv.reads = 0
    await store.find(agent.pubkey(), channels[0].session_id)
    assert kv.reads == 1
    await store.get(channels[0].scope)
    assert kv.reads == 3, "the scope's list and the latest"
