"""Which node and network a command talks to: named outright, by cluster, or as Solana's own CLI is configured."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from retainer.chain.clusters import CLUSTER_NAMES, RPC_URLS
from retainer.protocol.constants import Network

SOLANA_CONFIG: Final = Path("~/.config/solana/cli/config.yml")
_FROM_CONFIG: Final = "config"
# The file is flat YAML that Solana's CLI writes; a parser of all of YAML would be a dependency for one line.
_RPC_LINE: Final = re.compile(r"""^json_rpc_url:\s*["']?([^"'\s#]+)["']?\s*$""", re.MULTILINE)


def chosen_cluster(cluster: str | None, rpc_url: str | None, network: str | None) -> dict[str, object]:
    """`rpc_url` and `network`, where not given outright, as `cluster` says; BadParameter where they contradict."""
    if cluster == _FROM_CONFIG:
        rpc_url = rpc_url or _configured_url()
        cluster = str(_network_of(rpc_url))
    named = Network.LOCALNET if cluster is None else CLUSTER_NAMES[cluster]
    if cluster is not None and network is not None and network != str(named):
        raise click.BadParameter(f"--cluster is {named} and --network {network}: leave one of them out")
    return {"rpc_url": rpc_url or RPC_URLS[Network(network or named)], "network": network or str(named)}


def _configured_url() -> str:
    path = SOLANA_CONFIG.expanduser()
    try:
        found = _RPC_LINE.search(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(
            f"cannot read {path}: {error.strerror}. `solana config set --url devnet` writes it"
        ) from None
    if found is None:
        raise click.BadParameter(f"{path} names no json_rpc_url: `solana config set --url devnet` writes one")
    return found.group(1)


def _network_of(url: str) -> Network:
    host = urlsplit(url).hostname or ""
    if host in {"localhost", "127.0.0.1", "::1"}:
        return Network.LOCALNET
    for network in (Network.DEVNET, Network.MAINNET):
        if str(network) in host:
            return network
    raise click.BadParameter(f"{host} does not say which cluster it belongs to: give --network as well as --rpc-url")
