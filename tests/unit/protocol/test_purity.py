"""The kernel touches no network, clock or environment: what it may import is listed, and it loads none of them."""

import ast
import subprocess
import sys
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
    "hashlib",
    "hmac",
    "http",
    "json",
    "re",
    "rfc8785",
    "solders",
    "types",
    "typing",
}
# A clock, by whatever door: `datetime` is allowed for the calendar alone.
CLOCKS = {"now", "utcnow", "today"}

NETWORK = {"asyncio", "socket", "ssl", "selectors", "subprocess", "httpx", "solana", "anchorpy"}


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


def test_loading_the_kernel_loads_no_network() -> None:
    """In a fresh interpreter, as another test may have loaded anything here."""
    names = [f"retainer.protocol.{path.stem}" for path in MODULES if path.stem != "__init__"]
    code = (
        f"import importlib, sys; sys.path.insert(0, {str(FOLDER.parents[1])!r})\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"found = {NETWORK!r} & set(sys.modules)\n"
        "sys.exit(f'loaded {found}' if found else 0)"
    )
    # -I: neither the environment nor the folder that this runs in decides what is found.
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
