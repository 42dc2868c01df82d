"""Starting a validator from Python."""

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retainer.chain.rpc import RpcChain
from retainer.localnet import Localnet, LocalnetError, time_travel
from retainer.protocol.constants import PROGRAM_ID


async def test_it_runs_the_committed_program_while_the_block_does() -> None:
    with Localnet.start(slot_ms=20) as localnet:
        async with RpcChain(localnet.rpc_url) as chain:
            program = await chain.account(PROGRAM_ID)
        assert localnet.program_id == PROGRAM_ID
        assert program is not None

    assert localnet.process.returncode == 0


async def test_it_outlives_a_thousand_slots() -> None:
    """Surfpool stops answering once about a thousand of its events are unread; ours are read."""
    with Localnet.start(slot_ms=5) as localnet:
        async with RpcChain(localnet.rpc_url, timeout=5, pauses=()) as chain:
            started = await chain.slot()
            while await chain.slot() < started + 1_500:  # noqa: ASYNC110  a node has no event to wait for
                await asyncio.sleep(0.2)

    assert localnet.process.returncode == 0


PARENT = """
import subprocess, time
from retainer.localnet import command
validator = subprocess.Popen(command(slot_ms=50), stdout=subprocess.PIPE)
validator.stdout.readline()
print(validator.pid, flush=True)
time.sleep(60)
"""


def test_it_does_not_outlive_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        validator = int(parent.stdout.readline())
        assert is_alive(validator)
        parent.kill()

    patience = time.monotonic() + 10
    while is_alive(validator) and time.monotonic() < patience:
        time.sleep(0.1)
    assert not is_alive(validator)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_taken_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalnetError, match=f"port {port} cannot be used"):
            Localnet.start(port=port)


def test_node_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(LocalnetError, match="Node 18 or newer"):
        Localnet.start()


async def test_only_surfpool_travels_in_time() -> None:
    with pytest.raises(LocalnetError, match="did not answer surfnet_timeTravel"):
        await time_travel("http://127.0.0.1:9", 2_000_000_000)
