"""`retainer doctor` before any money moves: against a real service, and each thing wrong in a sentence."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from retainer_provider.keys import keypair_text, write_private
from tests.e2e.test_main_job import Town
from tests.e2e.test_main_job import localnet as localnet  # noqa: PLC0414 - a fixture
from tests.e2e.test_main_job import town as town  # noqa: PLC0414 - a fixture
from tests.serving import serving

pytestmark = pytest.mark.e2e


async def doctor(town: Town, *arguments: str) -> tuple[int, dict[str, tuple[bool, str]]]:
    """Exit status, and what is found by name."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "retainer.cli", "doctor", "--json", "--rpc-url", town.localnet.rpc_url, *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    findings = json.loads(out)["findings"]
    return process.returncode or 0, {one["name"]: (one["ok"], one["sentence"]) for one in findings}


async def test_an_agent_in_order_is_told_what_it_would_pay(town: Town, tmp_path: Path) -> None:
    key = tmp_path / "agent.json"
    write_private(key, keypair_text(town.agent.keypair))
    async with serving(town.config) as service:
        status, found = await doctor(town, f"{service.url}/work", "--keypair", str(key))
    assert (status, list(found)) == (0, ["node", "clock", "program", "keypair", "store", "offer", "SOL", "tokens"]), (
        found
    )
    assert f"0.008 {town.mint} a request, 1.0 suggested" in found["offer"][1]
    assert found["tokens"][1].startswith(f"{town.agent.key} has 10.0 of")


async def test_what_is_not_in_order_says_how_to_mend_it(town: Town, tmp_path: Path) -> None:
    poor, key = await town.localnet.person(1_000_000), tmp_path / "poor.json"
    write_private(key, keypair_text(poor))
    async with serving(town.config) as service:
        status, found = await doctor(town, f"{service.url}/work", "--keypair", str(key))
        assert status == 1
        assert {name for name, (ok, _) in found.items() if not ok} == {"SOL", "tokens"}
        assert "has 0.001000000 SOL: send it" in found["SOL"][1]
        assert "send it 0.08 more" in found["tokens"][1]
        _, free = await doctor(town, f"{service.url}/api/offers", "--keypair", str(key))
        assert "offers no session" in free["offer"][1]
    _, away = await doctor(town, f"{service.url}/work", "--keypair", str(key), "--network", "devnet")
    assert "of no public cluster, not of devnet" in away["node"][1]
    assert "did not answer" in away["offer"][1]
