"""Rules of the provider that no linter knows: who decides on status codes, who reads the environment."""

import ast
from pathlib import Path

PROVIDER = Path(__file__).parents[2] / "provider" / "retainer_provider"
STATUSES = {*range(200, 209), *range(300, 309), *range(400, 452), *range(500, 512)}


def constants(path: Path) -> set[int]:
    """The whole numbers in a module."""
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is int
    }


def names(path: Path) -> set[str]:
    """The attributes that a module asks others for."""
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def test_only_problems_decides_on_status_codes() -> None:
    """`answers` knows a few of them because of how HTTP frames their bodies."""
    modules = [path for folder in ("people", "sessions", "wire") for path in (PROVIDER / folder).rglob("*.py")]
    deciding = {path.relative_to(PROVIDER).as_posix() for path in modules if STATUSES & constants(path)}
    assert deciding == {"wire/answers.py", "wire/problems.py"}
    assert constants(PROVIDER / "wire" / "answers.py") & STATUSES == {200, 204, 304}


def test_only_settings_and_the_command_line_read_the_environment() -> None:
    reading = {path.relative_to(PROVIDER).as_posix() for path in PROVIDER.rglob("*.py") if "environ" in names(path)}
    assert reading == {"settings.py", "cli/common.py"}
