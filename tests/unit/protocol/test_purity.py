"""The kernel touches no network, clock or environment: what its modules may import is listed here."""

import ast
from pathlib import Path

import pytest

import retainer.protocol

FOLDER = Path(str(retainer.protocol.__file__)).parent
MODULES = sorted(FOLDER.glob("*.py"))
ALLOWED = {
    "base64",
    "binascii",
    "collections",
    "construct",
    "contextlib",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "http",
    "json",
    "msgspec",
    "re",
    "rfc8785",
    "solders",
    "struct",
    "types",
    "typing",
}
# A clock, by whatever door: `datetime` is allowed for the calendar alone.
CLOCKS = {"now", "utcnow", "today"}


def imported(tree: ast.AST) -> set[str]:
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.stem))
def test_a_module_imports_only_what_is_listed(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    own = {name for name in imported(tree) if name.startswith("retainer.protocol")}
    assert {name.split(".")[0] for name in imported(tree) - own} <= ALLOWED
    assert not {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & CLOCKS
