"""Sessions in any key-value store of strings: a browser's, a cloud's, a dict.

One record for each session, and one index for each payer that says which scope each session pays for. The record is
written before the index: between the two writes nothing has left this machine yet, so a session that the index does
not know holds no money.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Final, Protocol

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.errors import StoreError
from retainer.flows.offers import Scope
from retainer.protocol import fields
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.stores.base import entry_key, require_growing, unknown
from retainer.stores.records import channel_from_text, channel_to_text, json_from_text

_VERSION: Final = "1"


class StringKv(Protocol):
    """Strings under string keys. Its methods may be async or plain; it sees bearer tokens, so it must be private."""

    def get(self, key: str) -> Awaitable[str | None] | str | None:
        """The text under the key, None where there is none."""
        ...

    def set(self, key: str, value: str) -> object:
        """Keep the text under the key."""
        ...

    def delete(self, key: str) -> object:
        """Forget the key; nothing happens when it is not there."""
        ...


class JsonChannelStore:
    """A `ChannelStore` over strings, for one process at a time: such stores cannot compare before they write.

    Each write is read back: a store that loses writes is found out before money depends on it.
    """

    def __init__(self, kv: StringKv) -> None:
        self._kv = kv
        self._writing = asyncio.Lock()

    async def get(self, payer: Pubkey, scope: Scope) -> Channel | None:
        """The latest usable session for the scope."""
        key = entry_key(payer, scope)
        for session_id, entry in reversed((await self._index(payer)).items()):
            if entry != key:
                continue
            channel = await self._indexed(payer, session_id)
            if channel.scope != scope:
                raise StoreError(f"the index says that session {session_id} pays for something else than it does")
            if channel.usable:
                return channel
        return None

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        text = await self._read(_record_key(payer, session_id))
        return None if text is None else channel_from_text(text, payer, session_id)

    async def set(self, channel: Channel) -> None:
        """Keep this version; StoreError when its deposit or total is below the kept one's."""
        async with self._writing:
            await self._keep(channel)

    async def update(self, payer: Pubkey, session_id: str, change: Callable[[Channel], Channel]) -> Channel:
        """Apply ``change`` to the newest version and keep the result."""
        async with self._writing:
            kept = await self.find(payer, session_id)
            if kept is None:
                raise unknown(session_id)
            changed = change(kept)
            require_growing(kept, changed)
            await self._write(_record_key(payer, session_id), channel_to_text(changed))
            return changed

    async def choose(self, payer: Pubkey, choice: Callable[[list[Channel]], Channel]) -> Channel:
        """Keep what ``choice`` makes of all the payer's sessions."""
        async with self._writing:
            chosen = choice(await self.channels(payer))
            await self._keep(chosen)
            return chosen

    async def delete(self, payer: Pubkey, session_id: str) -> None:
        """Forget a session; nothing happens when it is not there."""
        async with self._writing:
            index = await self._index(payer)
            if session_id in index:
                await self._write_index(payer, {name: key for name, key in index.items() if name != session_id})
            key = _record_key(payer, session_id)
            await self._call(lambda: self._kv.delete(key), key)
            if await self._read(key) is not None:
                raise StoreError(f"the key-value store did not delete {key}")

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        return [await self._indexed(payer, session_id) for session_id in await self._index(payer)]

    async def _keep(self, channel: Channel) -> None:
        payer, session_id = channel.payer, channel.session_id
        if kept := await self.find(payer, session_id):
            require_growing(kept, channel)
        await self._write(_record_key(payer, session_id), channel_to_text(channel))
        index = await self._index(payer)
        if session_id not in index:
            await self._write_index(payer, {**index, session_id: entry_key(payer, channel.scope)})

    async def _indexed(self, payer: Pubkey, session_id: str) -> Channel:
        channel = await self.find(payer, session_id)
        if channel is None:
            raise StoreError(
                f"the key-value store has lost session {session_id}; its deposit can be withdrawn by its address"
            )
        return channel

    async def _index(self, payer: Pubkey) -> dict[str, str]:
        """The entry key of each session's scope, by session id, oldest first."""
        key = _index_key(payer)
        text = await self._read(key)
        if text is None:
            return {}
        try:
            index = Fields(json_from_text(text, key), key)
            index.require("version", fields.exactly(_VERSION))
            return index.require("sessions", fields.text_map)
        except MessageError as error:
            raise StoreError(f"the list of sessions cannot be read: {error}") from None

    async def _write_index(self, payer: Pubkey, sessions: dict[str, str]) -> None:
        await self._write(_index_key(payer), json.dumps({"version": _VERSION, "sessions": sessions}))

    async def _read(self, key: str) -> str | None:
        text = await self._call(lambda: self._kv.get(key), key)
        if text is not None and not isinstance(text, str):
            raise StoreError(f"the key-value store holds no text under {key}, but {type(text).__name__}")
        return text

    async def _write(self, key: str, text: str) -> None:
        await self._call(lambda: self._kv.set(key, text), key)
        if await self._read(key) != text:
            raise StoreError(f"the key-value store did not keep what was written under {key}")

    @staticmethod
    async def _call(ask: Callable[[], object], key: str) -> object:
        try:
            answer = ask()
            return await answer if isawaitable(answer) else answer
        except Exception as error:  # what a store of the caller's raises cannot be known here
            raise StoreError(f"the key-value store failed at {key}: {error!r}") from error


def _record_key(payer: Pubkey, session_id: str) -> str:
    return f"retainer:session:{payer}:{session_id}"


def _index_key(payer: Pubkey) -> str:
    return f"retainer:sessions:{payer}"
