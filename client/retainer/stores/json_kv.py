"""Sessions in any key-value store of strings: a browser's, a cloud's, a dict.

One record for each session; for each payer, all its sessions with the entry keys that they stand under; and for each
scope, under its entry key, the sessions that pay for it. A new one is written in this order: what the payer's list does
not know holds no money, since nothing has left this machine yet, and what the scope's does not know is found in the
payer's before another one would be opened.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Final, Protocol

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.channels.scope import ChannelScope
from retainer.errors import StoreError
from retainer.protocol import fields
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.stores.base import entry_key, require_covered, require_growing, unknown
from retainer.stores.holds import ProcessHolds
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


class JsonChannelStore(ProcessHolds):
    """A `SessionStore` over strings, for one process at a time: such stores cannot compare before they write.

    Each write is read back: a store that loses writes is found out before money depends on it.
    """

    def __init__(self, kv: StringKv) -> None:
        super().__init__()
        self._kv = kv
        self._writing = asyncio.Lock()

    async def get(self, scope: ChannelScope) -> Channel | None:
        """The latest session that can pay for the scope."""
        for session_id, payer in reversed((await self._entry(scope)).items()):
            channel = await self._listed(payer, session_id)
            if not scope.covers(channel.scope):
                raise StoreError(f"session {session_id} is filed under something else than it pays for")
            if channel.usable:
                return channel
        return None

    async def set(self, scope: ChannelScope, channel: Channel) -> None:
        """Keep this version under the scope."""
        require_covered(scope, channel)
        async with self._writing:
            await self._keep(channel, scope)

    async def delete(self, scope: ChannelScope) -> None:
        """Forget all sessions of the scope."""
        async with self._writing:
            for session_id, payer in (await self._entry(scope)).items():
                await self._forget(payer, session_id)

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        text = await self._read(_record_key(payer, session_id))
        return None if text is None else channel_from_text(text, payer, session_id)

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

    async def forget(self, payer: Pubkey, session_id: str) -> None:
        """Delete one session; nothing happens when it is not there."""
        async with self._writing:
            await self._forget(payer, session_id)

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        return [await self._listed(payer, session_id) for session_id in await self._list(_payer_key(payer))]

    async def _keep(self, channel: Channel, scope: ChannelScope | None = None) -> None:
        """Keep the session, under ``scope`` where one is given, else where it was, a new one under its own."""
        payer, session_id = channel.payer, channel.session_id
        if kept := await self.find(payer, session_id):
            require_growing(kept, channel)
        await self._write(_record_key(payer, session_id), channel_to_text(channel))
        all_of_payer = await self._list(_payer_key(payer))
        before = all_of_payer.get(session_id)
        key = before if scope is None and before is not None else entry_key(scope or channel.scope)
        if key != before:
            await self._write_list(_payer_key(payer), {**all_of_payer, session_id: key})
            if before is not None:
                await self._unlist(_entry_key(before), session_id)
        standing = await self._list(_entry_key(key))
        if session_id not in standing:
            await self._write_list(_entry_key(key), {**standing, session_id: str(payer)})

    async def _forget(self, payer: Pubkey, session_id: str) -> None:
        # The reverse order: what is still listed can still be found.
        key = (await self._list(_payer_key(payer))).get(session_id)
        if key is not None:
            await self._unlist(_entry_key(key), session_id)
            await self._unlist(_payer_key(payer), session_id)
        record = _record_key(payer, session_id)
        await self._call(lambda: self._kv.delete(record), record)
        if await self._read(record) is not None:
            raise StoreError(f"the key-value store did not delete {record}")

    async def _listed(self, payer: Pubkey, session_id: str) -> Channel:
        channel = await self.find(payer, session_id)
        if channel is None:
            raise StoreError(
                f"the key-value store has lost session {session_id}; its deposit can be withdrawn by its address"
            )
        return channel

    async def _entry(self, scope: ChannelScope) -> dict[str, Pubkey]:
        """The payer of each of the scope's sessions, by session id, oldest first."""
        key = _entry_key(entry_key(scope))
        try:
            return {session_id: fields.pubkey(payer) for session_id, payer in (await self._list(key)).items()}
        except fields.FieldValueError as error:
            raise StoreError(f"the list of sessions under {key} cannot be read: a payer {error}") from None

    async def _list(self, key: str) -> dict[str, str]:
        """A text for each session, by session id, oldest first."""
        text = await self._read(key)
        if text is None:
            return {}
        try:
            kept = Fields(json_from_text(text, key), key)
            kept.require("version", fields.exactly(_VERSION))
            return kept.require("sessions", fields.text_map)
        except MessageError as error:
            raise StoreError(f"the list of sessions cannot be read: {error}") from None

    async def _write_list(self, key: str, sessions: dict[str, str]) -> None:
        await self._write(key, json.dumps({"version": _VERSION, "sessions": sessions}))

    async def _unlist(self, key: str, session_id: str) -> None:
        sessions = await self._list(key)
        await self._write_list(key, {name: text for name, text in sessions.items() if name != session_id})

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


def _payer_key(payer: Pubkey) -> str:
    return f"retainer:sessions:{payer}"


def _entry_key(key: str) -> str:
    return f"retainer:scope:{key}"
