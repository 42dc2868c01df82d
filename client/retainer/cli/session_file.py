"""Sessions in one JSON file, so that the next command finds them. It holds bearer tokens, hence its mode."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.channels.channel_json import channel_from_json, channel_to_json
from retainer.errors import StoreError
from retainer.flows.offers import Scope
from retainer.protocol.encoding import read_json
from retainer.protocol.errors import MessageError
from retainer.stores import latest_usable, require_growing

_PRIVATE: Final = 0o600


class FileChannelStore:
    """A `ChannelStore` in a file; several commands may run at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get(self, payer: Pubkey, scope: Scope) -> Channel | None:
        """The latest usable session for the scope."""
        return latest_usable(await self.channels(payer), scope)

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        return next((kept for kept in await self.channels(payer) if kept.session_id == session_id), None)

    async def set(self, channel: Channel) -> None:
        """Keep this version; StoreError when its deposit or total is below the kept one's."""
        with self._locked():
            channels = self._read()
            if kept := channels.get(channel.session_id):
                require_growing(kept, channel)
            self._write({**channels, channel.session_id: channel})

    async def delete(self, payer: Pubkey, session_id: str) -> None:
        """Forget a session; nothing happens when it is not there."""
        with self._locked():
            kept = self._read()
            self._write(
                {name: channel for name, channel in kept.items() if (name, channel.payer) != (session_id, payer)}
            )

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        return [channel for channel in self._read().values() if channel.payer == payer]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # A lock file of its own: the data file is replaced as a whole, and a lock on it would go with the old one.
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, _PRIVATE)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _read(self) -> dict[str, Channel]:
        try:
            kept = read_json(self._path.read_bytes(), str(self._path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from None
        except MessageError as error:
            raise StoreError(f"{error}. Move the file away to start afresh; sessions in it can be reclaimed") from None
        if not isinstance(kept, list):
            raise StoreError(f"{self._path} is no list of sessions")
        channels = [channel_from_json(entry) for entry in kept]
        return {channel.session_id: channel for channel in channels}

    def _write(self, channels: dict[str, Channel]) -> None:
        # Written aside and renamed: whoever reads sees all of the old or all of the new, also after a crash.
        aside = self._path.with_suffix(".new")
        text = json.dumps([channel_to_json(channel) for channel in channels.values()], indent=1)
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE), "w") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            aside.replace(self._path)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from None
