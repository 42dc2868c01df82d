"""The session program that this release was built and tested with."""

import hashlib
from collections.abc import Callable
from importlib import resources
from importlib.metadata import version

import click
from solders.pubkey import Pubkey

from retainer.protocol.constants import PROGRAM_ID
from retainer.relocation import relocated


def program_bytes(address: Pubkey = PROGRAM_ID) -> bytes:
    """The compiled program, as it must be deployed at ``address``."""
    released = (resources.files("retainer") / "artifacts" / "session_escrow.so").read_bytes()
    return relocated(released, address)


def program_hash(address: Pubkey = PROGRAM_ID) -> str:
    """SHA-256 of it, in hexadecimal."""
    return hashlib.sha256(program_bytes(address)).hexdigest()


def version_text(command: str) -> str:
    """What `--version` says: the release, and which program it pays by."""
    return f"{command} {version('retainer')}\nprogram {PROGRAM_ID}\nsha256 {program_hash()}"


def tell_version(command: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    """The callback of a `--version` option."""

    def tell(context: click.Context, _option: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click's own form
        if asked and not context.resilient_parsing:
            click.echo(version_text(command))
            context.exit()

    return tell
