"""What the commands share: settings from a file, failures as a sentence and an exit status."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec

import click

from retainer.chain.errors import ChainError
from retainer.protocol.encoding import Json
from retainer.protocol.errors import RetainerError
from retainer_provider.books.ledger import LedgerError
from retainer_provider.settings import Settings, SettingsError, load_settings

P = ParamSpec("P")

DEFAULT_CONFIG: Final = "retainer.toml"


class ExitStatus(IntEnum):
    """What a script can tell from how a command ended."""

    DONE = 0
    NOT_RIGHT = 1
    USAGE = 2
    SETTINGS = 3
    CHAIN = 4
    LEDGER = 5
    NOT_FOUND = 6
    INTERRUPTED = 130  # as shells have it for Ctrl-C


_STATUSES: Final = (
    (SettingsError, ExitStatus.SETTINGS),
    (ChainError, ExitStatus.CHAIN),
    (LedgerError, ExitStatus.LEDGER),
)

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The settings file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def examples(*lines: str) -> str:
    """The end of a command's help; the control character keeps click from refilling the lines."""
    return "\b\nExamples:\n" + "\n".join(f"  retainer-provider {line}" for line in lines)


class NotFoundError(RetainerError):
    """What was asked for is not in the books."""


def settings_of(config: Path, **overrides: str | None) -> Settings:
    """The settings in `config`, with what the environment and then the command line override."""
    given = {f"RETAINER_PROVIDER_{name.upper()}": value for name, value in overrides.items() if value is not None}
    return load_settings(config, {**os.environ, **given})


def told(command: Callable[P, None]) -> Callable[P, None]:
    """End a command that fails with its sentence on standard error and the status that fits."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except RetainerError as error:
            click.echo(f"retainer-provider: {error}", err=True)
            status = next((status for kind, status in _STATUSES if isinstance(error, kind)), ExitStatus.NOT_RIGHT)
            sys.exit(ExitStatus.NOT_FOUND if isinstance(error, NotFoundError) else status)
        except KeyboardInterrupt:
            click.echo(
                "retainer-provider: interrupted; nothing is lost, and the same command goes on from there", err=True
            )
            sys.exit(ExitStatus.INTERRUPTED)

    return run


def print_json(value: Mapping[str, Json]) -> None:
    """One JSON object, indented."""
    click.echo(json.dumps(value, indent=2))
