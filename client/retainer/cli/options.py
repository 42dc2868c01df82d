"""Options that commands share, and the environment variables that can stand for them."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Final, TypeAlias

import click
from solders.pubkey import Pubkey

from retainer.chain.clusters import CLUSTER_NAMES
from retainer.chain.rpc import RpcChain
from retainer.cli.clusters import DEFAULT_KEYPAIR, chosen_cluster, chosen_keypair
from retainer.cli.failures import FAILURES, ExitStatus, report
from retainer.protocol.constants import Network
from retainer.stores import SessionStore, create_sqlite_channel_store
from retainer.trust.pins import Pins

_INTERRUPTED: Final = 130
_PATIENCE: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each further try


def address(text: str) -> Pubkey:
    """The type of parameters that are base58 addresses."""
    try:
        return Pubkey.from_string(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no base58 address") from None


def examples(*lines: str) -> str:
    """The epilog that shows how a command is called; the control character keeps click from refilling the lines."""
    return "\n".join(("\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)))


@dataclass(frozen=True, slots=True)
class Options:
    """The shared options as given."""

    rpc_url: str
    as_json: bool
    network: str = str(Network.LOCALNET)
    keypair: str = ""
    store: Path = Path()
    programs: tuple[Pubkey, ...] = ()

    @property
    def pins(self) -> Pins:
        """What the user trusts."""
        return Pins(Network(self.network)).trusting(self.programs)

    def chain(self, *, patient: bool = False) -> RpcChain:
        """The user's node; ``patient`` where thousands of requests are to come, and its limits will be met."""
        return RpcChain(self.rpc_url, pauses=_PATIENCE) if patient else RpcChain(self.rpc_url)

    def keeper(self) -> SessionStore:
        """Where the user's sessions are kept."""
        return create_sqlite_channel_store(self.store)


Body: TypeAlias = Callable[..., Awaitable[ExitStatus | None]]
"""A command: takes Options and its own parameters; None means that all went well."""


def default_store() -> Path:
    """The session file: under the XDG state folder."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "retainer" / "sessions.sqlite"


def reads_chain(body: Body) -> Callable[..., None]:
    """Turn an async command into one that click can run, with --rpc-url and --json and failures told in a sentence."""

    @click.option(
        "--rpc-url",
        envvar="RETAINER_RPC_URL",
        show_default="http://127.0.0.1:8899, or the public node of --cluster",
        show_envvar=True,
        help="The Solana node that you trust.",
    )
    @click.option(
        "--cluster",
        type=click.Choice([*CLUSTER_NAMES, "config"]),
        help="Node and network by the names of Solana's tools; `config` takes what `solana config` has, keypair too.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout, and failures as JSON to stderr.")
    @click.option(
        "--network",
        envvar="RETAINER_NETWORK",
        type=click.Choice([str(network) for network in Network]),
        show_default="localnet, or that of --cluster",
        show_envvar=True,
        help="The cluster that the node belongs to; a service that settles elsewhere is refused.",
    )
    @click.option(
        "--trust-program",
        "programs",
        type=address,
        multiple=True,
        help="An escrow program to trust besides the known ones.",
    )
    @wraps(body)
    def command(**parameters: object) -> None:
        cluster = _text(parameters.pop("cluster"))
        parameters |= chosen_cluster(cluster, _text(parameters["rpc_url"]), _text(parameters["network"]))
        if "keypair" in parameters:
            parameters["keypair"] = chosen_keypair(cluster, _text(parameters["keypair"]))
        shared = {name: parameters.pop(name) for name in Options.__slots__ if name in parameters}
        options = Options(**shared)  # type: ignore[arg-type]  # click has checked them
        try:
            status = asyncio.run(_run(body(options, **parameters)))
        except FAILURES as error:
            status = report(error, as_json=options.as_json)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        sys.exit(status or ExitStatus.OK)

    return command


keypair_option = click.option(
    "--keypair",
    envvar="RETAINER_KEYPAIR",
    show_default=f"{DEFAULT_KEYPAIR}, or that of --cluster config",
    show_envvar=True,
    help="The keypair file that pays (Solana CLI format).",
)


def spends(body: Body) -> Callable[..., None]:
    """Like ``reads_chain``, with --keypair and --store."""
    store = click.option(
        "--store",
        envvar="RETAINER_STORE",
        type=click.Path(dir_okay=False, path_type=Path),
        default=default_store,
        show_default="~/.local/state/retainer/sessions.sqlite",
        show_envvar=True,
        help="Where your sessions are kept. The file spends them: keep it private.",
    )
    return keypair_option(store(reads_chain(body)))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


async def _run(body: Awaitable[ExitStatus | None]) -> ExitStatus | None:
    return await body
