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
# The file is flat YAML that Solana's CLI writes; a parser of all of YAML would be a dependency for two lines.
_LINE: Final = re.compile(r"""^(json_rpc_url|keypair_path):\s*["']?([^"'#\n]+?)["']?\s*$""", re.MULTILINE)
DEFAULT_KEYPAIR: Final = "~/.config/solana/id.json"


def chosen_cluster(cluster: str | None, rpc_url: str | None, network: str | None) -> dict[str, object]:
    """`rpc_url` and `network`, where not given outright, as `cluster` says; BadParameter where they contradict."""
    if cluster == _FROM_CONFIG:
        rpc_url = rpc_url or _configured("json_rpc_url")
        cluster = str(_network_of(rpc_url))
    named = Network.LOCALNET if cluster is None else CLUSTER_NAMES[cluster]
    if cluster is not None and network is not None and network != str(named):
        raise click.BadParameter(f"--cluster is {named} and --network {network}: leave one of them out")
    return {"rpc_url": rpc_url or RPC_URLS[Network(network or named)], "network": network or str(named)}


def chosen_keypair(cluster: str | None, keypair: str | None) -> str:
    """The keypair file as given, or that of Solana's configuration where `cluster` takes it, or its usual one."""
    return keypair or (_configured("keypair_path") if cluster == _FROM_CONFIG else DEFAULT_KEYPAIR)


def _configured(name: str) -> str:
    path = SOLANA_CONFIG.expanduser()
    try:
        found: dict[str, str] = dict(_LINE.findall(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise click.BadParameter(
            f"cannot read {path}: {error.strerror}. `solana config set --url devnet` writes it"
        ) from None
    if name not in found:
        raise click.BadParameter(f"{path} names no {name}: `solana config set --url devnet` writes one")
    return found[name]


def _network_of(url: str) -> Network:
    host = urlsplit(url).hostname or ""
    if host in {"localhost", "127.0.0.1", "::1"}:
        return Network.LOCALNET
    for network in (Network.DEVNET, Network.MAINNET):
        if str(network) in host:
            return network
    raise click.BadParameter(f"{host} does not say which cluster it belongs to: give --network as well as --rpc-url")
