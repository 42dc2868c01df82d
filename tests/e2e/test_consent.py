"""`retainer ask` at a terminal: what a deposit means is said, and nothing is signed without a yes."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from retainer_provider.keys import keypair_text, write_private
from tests.e2e.test_main_job import TOKENS, Town
from tests.e2e.test_main_job import town as town  # noqa: PLC0414 - a fixture
from tests.serving import serving

pytestmark = pytest.mark.e2e


async def at_a_terminal(answer: str, *arguments: str) -> tuple[int, str]:
    """Type `answer` where the command asks; its exit status, and what stood on the terminal."""
    controller, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "retainer.cli", *arguments), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    shown = bytearray()
    answered = False
    loop = asyncio.get_running_loop()
    while True:
        try:
            read = await loop.run_in_executor(None, os.read, controller, 4096)
        except OSError:  # the other side has closed it
            break
        if not read:
            break
        shown += read
        if not answered and b"Sign it?" in shown:
            os.write(controller, f"{answer}\n".encode())
            answered = True
    os.close(controller)
    return await process.wait(), shown.decode()


async def test_a_person_sees_what_a_deposit_means_and_decides(town: Town, tmp_path: Path) -> None:
    key = tmp_path / "agent.json"
    write_private(key, keypair_text(town.agent.keypair))
    shared = ("--keypair", str(key), "--store", str(tmp_path / "mine.sqlite"), "--rpc-url", town.localnet.rpc_url)
    async with serving(town.config) as service:
        asking = ("ask", f"{service.url}/work", "--deposit", "1.0", *shared)
        status, shown = await at_a_terminal("n", *asking)
        assert (status, await town.tokens(town.agent.key)) == (3, TOKENS), shown
        assert "you said no; nothing was signed" in shown
        for fact in ("0.008 a request at most", "worst case", "expires", "retainer request-close", "1.0 lost"):
            assert fact in shown
        status, shown = await at_a_terminal("y", *asking)
        assert (status, await town.tokens(town.agent.key)) == (0, TOKENS - 1_000_000), shown
        # A kept session pays: nothing is deposited, so nothing is asked.
        status, shown = await at_a_terminal("n", *asking)
        assert (status, "Sign it?" in shown) == (0, False)
        session = shown.rsplit("session ", 1)[1].split()[0]
        status, shown = await at_a_terminal("n", "top-up", session, "0.5", *shared)
        assert (status, "0.5 more, 1.5 then" in shown) == (3, True), shown
        status, shown = await at_a_terminal("n", "top-up", session, "0.5", "--yes", *shared)
        assert (status, await town.tokens(town.agent.key)) == (0, TOKENS - 1_500_000), shown
        assert "0.5 more, 1.5 then" in shown
        assert "Sign it?" not in shown
