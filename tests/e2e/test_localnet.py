"""Starting a validator from Python."""

import asyncio
import socket

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
