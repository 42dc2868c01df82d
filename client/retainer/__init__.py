"""retainer: fund once, ask many. Prepaid sessions for agents that pay HTTP services on Solana.

    async with SessionClient(load_keypair("agent.json"), rpc_url="http://127.0.0.1:8899", deposit="1.0") as client:
        response = await client.request("GET", "http://127.0.0.1:8402/ask")

Names are loaded when they are first used: importing ``retainer.protocol`` brings in no network code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from retainer.auth import SessionAuth
    from retainer.errors import ClientError
    from retainer.flows.answers import problem_of
    from retainer.flows.closer import CloseResult
    from retainer.flows.leaving import Leaving
    from retainer.flows.offers import Offer
    from retainer.flows.opener import Submit
    from retainer.flows.preview import Preview
    from retainer.protocol.amounts import BaseUnits
    from retainer.protocol.constants import Network
    from retainer.protocol.errors import RetainerError
    from retainer.protocol.session import SessionState
    from retainer.protocol.signing import Signer
    from retainer.protocol.views import SessionView
    from retainer.session_client import SessionClient
    from retainer.stores import (
        ChannelScope,
        ChannelStore,
        SessionStore,
        StringKv,
        create_channel_store,
        create_json_channel_store,
        create_sqlite_channel_store,
        entry_key,
    )
    from retainer.sync_client import SyncSessionAuth, SyncSessionClient
    from retainer.trust.caps import SpendingCaps, TopUpPolicy
    from retainer.trust.pins import Pins
    from retainer.wallet import create_keypair, load_keypair

__all__ = [
    "BaseUnits",
    "ChannelScope",
    "ChannelStore",
    "ClientError",
    "CloseResult",
    "Leaving",
    "Network",
    "Offer",
    "Pins",
    "Preview",
    "RetainerError",
    "SessionAuth",
    "SessionClient",
    "SessionState",
    "SessionStore",
    "SessionView",
    "Signer",
    "SpendingCaps",
    "StringKv",
    "Submit",
    "SyncSessionAuth",
    "SyncSessionClient",
    "TopUpPolicy",
    "create_channel_store",
    "create_json_channel_store",
    "create_keypair",
    "create_sqlite_channel_store",
    "entry_key",
    "load_keypair",
    "problem_of",
]

_HOMES: Final = {
    "BaseUnits": "protocol.amounts",
    "ChannelScope": "stores",
    "ChannelStore": "stores",
    "ClientError": "errors",
    "CloseResult": "flows.closer",
    "Leaving": "flows.leaving",
    "Network": "protocol.constants",
    "Offer": "flows.offers",
    "Pins": "trust.pins",
    "Preview": "flows.preview",
    "RetainerError": "protocol.errors",
    "SessionAuth": "auth",
    "SessionClient": "session_client",
    "SessionState": "protocol.session",
    "SessionStore": "stores",
    "SessionView": "protocol.views",
    "Signer": "protocol.signing",
    "SpendingCaps": "trust.caps",
    "StringKv": "stores",
    "Submit": "flows.opener",
    "SyncSessionAuth": "sync_client",
    "SyncSessionClient": "sync_client",
    "TopUpPolicy": "trust.caps",
    "create_channel_store": "stores",
    "create_json_channel_store": "stores",
    "create_keypair": "wallet",
    "create_sqlite_channel_store": "stores",
    "entry_key": "stores",
    "load_keypair": "wallet",
    "problem_of": "flows.answers",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
