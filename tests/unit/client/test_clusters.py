"""Which node and network a command talks to."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from retainer.chain.clusters import CLUSTER_NAMES, RPC_URLS
from retainer.cli import main
from retainer.cli.clusters import chosen_cluster, chosen_keypair
from retainer.protocol.constants import PROGRAM_ID, Network
from retainer.release import program_hash
from retainer_provider.cli import main as provider


@pytest.mark.parametrize(("name", "network"), CLUSTER_NAMES.items())
def test_a_cluster_names_its_node_and_network(name: str, network: Network) -> None:
    assert chosen_cluster(name, None, None) == {"rpc_url": RPC_URLS[network], "network": str(network)}


def test_what_is_named_outright_stands() -> None:
    assert chosen_cluster(None, None, None) == {"rpc_url": "http://127.0.0.1:8899", "network": "localnet"}
    assert chosen_cluster("devnet", "https://own.node", None) == {"rpc_url": "https://own.node", "network": "devnet"}
    assert chosen_cluster(None, None, "devnet")["rpc_url"] == RPC_URLS[Network.DEVNET]
    with pytest.raises(click.BadParameter, match="leave one of them out"):
        chosen_cluster("devnet", None, "mainnet")


@pytest.mark.parametrize(
    ("line", "network"),
    [
        ("json_rpc_url: https://api.devnet.solana.com", "devnet"),
        ('json_rpc_url: "https://api.mainnet-beta.solana.com"', "mainnet"),
        ("json_rpc_url: http://localhost:8899", "localnet"),
    ],
)
def test_solanas_own_configuration_is_taken(
    line: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(click.BadParameter, match="solana config set"):
        chosen_cluster("config", None, None)
    file = tmp_path / ".config" / "solana" / "cli" / "config.yml"
    file.parent.mkdir(parents=True)
    file.write_text(f"---\n{line}\nwebsocket_url: ''\nkeypair_path: id.json\ncommitment: confirmed\n")
    assert chosen_cluster("config", None, None)["network"] == network
    assert chosen_keypair("config", None) == "id.json"
    assert chosen_keypair("config", "own.json") == "own.json"
    assert chosen_keypair("devnet", None) == "~/.config/solana/id.json"
    file.write_text("json_rpc_url: https://node.example\n")
    with pytest.raises(click.BadParameter, match="names no keypair_path"):
        chosen_keypair("config", None)
    with pytest.raises(click.BadParameter, match="does not say which cluster"):
        chosen_cluster("config", None, None)


@pytest.mark.parametrize(("name", "command"), [("retainer", main), ("retainer-provider", provider)])
def test_the_version_tells_the_program_and_its_hash(name: str, command: click.Group) -> None:
    told = CliRunner().invoke(command, ["--version"]).output.splitlines()
    assert told[0].startswith(f"{name} 0.")
    assert told[1:] == [f"program {PROGRAM_ID}", f"sha256 {program_hash()}"]
    sums = (Path(__file__).parents[3] / "programs/session_escrow/artifacts").glob("*.sha256")
    assert any(program_hash() in file.read_text() for file in sums)
