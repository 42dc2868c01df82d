"""Where sessions are kept: a store finds the one that can pay for a scope, and never lets its figures shrink."""

import os

from retainer.channels.channel import Channel
from retainer.channels.scope import ChannelScope
from retainer.stores.base import ChannelStore, SessionStore, entry_key
from retainer.stores.json_kv import JsonChannelStore, StringKv
from retainer.stores.memory import MemoryChannelStore
from retainer.stores.sqlite import SqliteChannelStore

__all__ = [
    "Channel",
    "ChannelScope",
    "ChannelStore",
    "SessionStore",
    "StringKv",
    "create_channel_store",
    "create_json_channel_store",
    "create_sqlite_channel_store",
    "entry_key",
]


def create_channel_store() -> SessionStore:
    """Sessions for as long as the process lives."""
    return MemoryChannelStore()


def create_json_channel_store(kv: StringKv) -> SessionStore:
    """Sessions in any key-value store of strings, for one process at a time."""
    return JsonChannelStore(kv)


def create_sqlite_channel_store(path: str | os.PathLike[str]) -> SessionStore:
    """Sessions in a SQLite file, which several processes of one machine may share."""
    return SqliteChannelStore(path)
