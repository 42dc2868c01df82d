"""The session program that this release was built and tested with."""

import hashlib
from collections.abc import Callable
from importlib import resources
from importlib.metadata import version

import click

from retainer.protocol.constants import PROGRAM_ID


def program_bytes() -> bytes:
    """The compiled program, as it must be deployed."""
    return (resources.files("retainer") / "artifacts" / "session_escrow.so").read_bytes()


def program_hash() -> str:
    """SHA-256 of it, in hexadecimal."""
    return hashlib.sha256(program_bytes()).hexdigest()


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
