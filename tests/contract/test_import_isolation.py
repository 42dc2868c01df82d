"""Importing one part brings in no other, measured in interpreters that have imported nothing yet."""

import subprocess
import sys

import pytest

NETWORK = ("httpx", "httpcore", "anyio", "asyncio", "solana", "ssl", "socket")
SERVICE = ("retainer_provider", "uvicorn", "starlette", "apsw", "structlog")
MCP = ("mcp", "mcp_types")
ANCHOR = ("anchorpy", "anchorpy_core")


def loaded(statement: str, names: tuple[str, ...]) -> list[str]:
    """Which of `names` a fresh interpreter has loaded after `statement`."""
    program = f"import sys\n{statement}\nprint(*(name for name in {names!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import retainer", (*NETWORK, *SERVICE, *ANCHOR)),
        ("import retainer.protocol", (*NETWORK, *SERVICE, *ANCHOR)),
        ("from retainer import SessionClient", (*SERVICE, *ANCHOR)),
        ("import retainer.cli", (*SERVICE, *ANCHOR, *MCP)),
        ("import retainer_provider", ANCHOR),
    ],
)
def test_importing_one_part_loads_no_other(statement: str, never: tuple[str, ...]) -> None:
    assert loaded(statement, never) == []


def test_the_whole_kernel_loads_no_network_code() -> None:
    everything = """
import importlib, pkgutil, retainer.protocol
for module in pkgutil.walk_packages(retainer.protocol.__path__, "retainer.protocol."):
    importlib.import_module(module.name)
"""
    assert loaded(everything, (*NETWORK, *SERVICE, *ANCHOR)) == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded("import httpx", ("httpx",)) == ["httpx"]
