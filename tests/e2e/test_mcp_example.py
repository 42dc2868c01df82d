"""An MCP server that is sold (examples/mcp_upstream.py), and the agent that calls it (examples/mcp_agent.py)."""

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from retainer_provider.keys import keypair_text, write_private
from tests.e2e.test_main_job import Town
from tests.e2e.test_main_job import town as town  # noqa: PLC0414 - a fixture
from tests.serving import serving

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples"
PRICE = 8_000


def documented_routes() -> str:
    """The line of settings that the example's docstring names."""
    lines = (EXAMPLES / "mcp_upstream.py").read_text(encoding="utf-8").splitlines()
    [line] = [line.strip() for line in lines if line.strip().startswith("routes = ")]
    return line


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """The example under uvicorn, as its docstring starts it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "mcp_upstream:app"),
            *("--fd", str(listener.fileno())),
            pass_fds=[listener.fileno()],
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            await process.wait()


async def test_a_sold_mcp_server_is_paid_by_the_word_and_its_handshake_is_free(town: Town, tmp_path: Path) -> None:
    key = tmp_path / "agent.json"
    write_private(key, keypair_text(town.agent.keypair))
    held = await town.tokens(town.agent.key)
    async with upstream() as behind:
        settings = town.config.read_text(encoding="utf-8")
        selling = re.sub(r"^routes = .*$", documented_routes(), settings, flags=re.MULTILINE)
        town.config.write_text(selling, encoding="utf-8")
        async with serving(town.config, {"RETAINER_PROVIDER_UPSTREAM": behind}) as service:
            agent = await asyncio.create_subprocess_exec(
                *(sys.executable, str(EXAMPLES / "mcp_agent.py"), f"{service.url}/mcp", str(key)),
                *(town.localnet.rpc_url, "one two three", "four five"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(agent.communicate(), 120)
    assert agent.returncode == 0, (err.decode(), service.log)
    assert out.decode().splitlines()[:2] == ["three two one", "five four"]
    assert held - await town.tokens(town.agent.key) == 5 * PRICE
