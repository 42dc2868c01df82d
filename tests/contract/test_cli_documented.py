"""docs/cli.md says what `retainer --help` says: every command, option, variable and exit status."""

from pathlib import Path

import click
import pytest

from retainer.cli import main
from retainer.cli.failures import MEANINGS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def leaves(group: click.Group, before: str = "") -> dict[str, click.Command]:
    """Commands by their whole name, those of groups included."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        inner = (
            leaves(command, f"{before}{name} ") if isinstance(command, click.Group) else {f"{before}{name}": command}
        )
        found.update(inner)
    return found


LEAVES = leaves(main)
COMMANDS = sorted(LEAVES)


def options_of(name: str) -> list[click.Option]:
    return [parameter for parameter in LEAVES[name].params if isinstance(parameter, click.Option)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_helps_with_an_example(name: str) -> None:
    command = LEAVES[name]
    assert f"`retainer {name} " in DOCUMENT or f"`retainer {name}`" in DOCUMENT
    assert command.help
    assert f"retainer {name}" in (command.epilog or "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_explained(name: str) -> None:
    for option in options_of(name):
        assert option.help, option.name
        assert any(f"`{spelling}`" in DOCUMENT for spelling in option.opts), option.opts
        if option.envvar:
            assert f"`{option.envvar}`" in DOCUMENT


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name: str) -> None:
    assert "--json" in {spelling for option in options_of(name) for spelling in option.opts}


def test_the_document_names_no_option_that_does_not_exist() -> None:
    spellings = {spelling for name in COMMANDS for option in options_of(name) for spelling in option.opts} | {"--help"}
    named = {word.strip("`,.:") for word in DOCUMENT.split() if word.startswith("`--")}
    assert named <= spellings


def test_every_exit_status_is_documented() -> None:
    for status, meaning in MEANINGS.items():
        assert f"| {int(status)} | {meaning} |" in DOCUMENT
