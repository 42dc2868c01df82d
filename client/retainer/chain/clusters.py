"""The public clusters: the names that Solana's own tools take, their nodes, and how to tell them apart."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from retainer.protocol.constants import Network

RPC_URLS: Final[Mapping[Network, str]] = MappingProxyType(
    {
        Network.LOCALNET: "http://127.0.0.1:8899",
        Network.DEVNET: "https://api.devnet.solana.com",
        Network.MAINNET: "https://api.mainnet-beta.solana.com",
    }
)
"""Public nodes; they limit rates, so that a service wants one of its own."""

CLUSTER_NAMES: Final[Mapping[str, Network]] = MappingProxyType(
    {
        "localnet": Network.LOCALNET,
        "localhost": Network.LOCALNET,
        "l": Network.LOCALNET,
        "devnet": Network.DEVNET,
        "d": Network.DEVNET,
        "mainnet": Network.MAINNET,
        "mainnet-beta": Network.MAINNET,
        "m": Network.MAINNET,
    }
)
"""As `solana --url` takes them."""

_GENESIS: Final[Mapping[str, Network]] = MappingProxyType(
    {
        "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d": Network.MAINNET,
        "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxkPkZBG": Network.DEVNET,
    }
)


def public_cluster(genesis_hash: str) -> Network | None:
    """Which public cluster begins with this hash; None for any other chain."""
    return _GENESIS.get(genesis_hash)


def genesis_hash(network: Network) -> str | None:
    """The hash that a public cluster begins with; None for localnet, where every run has its own."""
    return next((known for known, public in _GENESIS.items() if public is network), None)
