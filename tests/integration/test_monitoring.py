"""What operators see: numbers that agree with the books, and a readiness that names what is wrong."""

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.problems import ProblemType
from retainer_provider.sessions.metering import DeliveryKind
from retainer_provider.settings import SettingsError
from tests.integration.conftest import Shop, Upstream, opened_shop, reply
from tests.shop import DEPOSIT, PRICE

# Everything that a label may hold: a word that is not here was chosen by a client.
WORDS = {
    "",
    "standard",
    *(problem.name.lower() for problem in ProblemType),
    *(str(kind) for kind in DeliveryKind),
    *("opened", "topped_up", "closed", "closing", "voucher_kept", "streamed", "passed_on"),
    *("pending", "abandoned", "active", "closing", "refunded"),
    *("deposit", "reserved", "spent", "settled"),
    *("reserve", "commit"),
}


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def address(raw_settings: dict[str, Any]) -> str:
    raw_settings["metrics"] = {"address": free_address()}
    return str(raw_settings["metrics"]["address"])


async def scraped(address: str) -> dict[tuple[str, ...], float]:
    """Name and label values -> value; what only an exposition's reader needs is left out."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://{address}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = [value for name, value in sample.labels.items() if name != "le"]
            assert set(labels) <= WORDS, sample
            if not sample.name.endswith(("_bucket", "_created")):
                found[sample.name, *labels] = sample.value
    return found


async def test_the_numbers_are_those_of_the_books(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path, address: str
) -> None:
    upstream = Upstream()
    async with opened_shop(chain, mint, raw_settings, tmp_path, upstream) as shop:
        opening = await shop.opened()
        for key in ("a", "b", "b"):
            await shop.use(opening, key=key)
        upstream.app = lambda _scope, _receive, send: reply(send, b"", 500)
        await shop.use(opening)
        await shop.http.get("/nowhere/at-all")
        await shop.http.get("/free")
        await shop.send(opening.close())
        numbers = await scraped(address)
        view = await shop.view(opening)
    outcomes = {name[1:]: value for name, value in numbers.items() if name[0] == "retainer_requests_total"}
    assert outcomes == {
        ("standard", "payment_required"): 1,
        ("standard", "opened"): 1,
        ("standard", "charged"): 2,
        ("standard", "replayed"): 1,
        ("standard", "free"): 1,
        ("standard", "closed"): 1,
        ("", "route_unknown"): 1,
        ("", "passed_on"): 1,
    }
    assert numbers["retainer_request_seconds_count", "standard"] == 7
    assert numbers["retainer_ledger_write_seconds_count", "commit"] == 3
    assert numbers["retainer_sessions", "standard", "refunded"] == 1
    sums = {kind: numbers["retainer_base_units", kind, "standard"] for kind in ("deposit", "reserved", "settled")}
    assert sums == {"deposit": DEPOSIT, "reserved": 0, "settled": 2 * PRICE}
    assert numbers["retainer_base_units", "spent", "standard"] == view.spent
    assert numbers["retainer_settlements_total", "settled"] == 1
    assert (numbers[("retainer_deadline_alarms",)], numbers[("retainer_ledger_up",)]) == (0, 1)
    assert numbers[("retainer_chain_view_age_seconds",)] >= 0


async def test_readiness_names_what_is_wrong_while_the_process_lives(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path, address: str
) -> None:
    async def ready(shop: Shop) -> list[str]:
        """What is wrong, told alike by the port of its own and by the service's own API."""
        async with httpx.AsyncClient() as http:
            told = await http.get(f"http://{address}/readyz")
            alive = await http.get(f"http://{address}/healthz")
        assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
        assert told.status_code == (503 if told.json()["problems"] else 200)
        public = await shop.http.get("/api/readyz")
        assert (public.status_code, public.json()["problems"]) == (told.status_code, told.json()["problems"])
        assert (await shop.http.get("/api/healthz")).status_code == 200
        return list(told.json()["problems"])

    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        assert await ready(shop) == []
        chain.down = True
        chain.advance(seconds=301)
        assert await ready(shop) == ["chain"]
        chain.down = False
        await shop.pace.tick()
        assert await ready(shop) == []
        shop.app.stop()
        assert await ready(shop) == ["service"]
        await shop.ledger.aclose()
        assert await ready(shop) == ["service", "ledger"]
        assert (await scraped(address))[("retainer_ledger_up",)] == 0


async def test_nothing_listens_unless_it_is_asked_to_and_a_taken_port_is_told(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path, address: str
) -> None:
    host, port = address.split(":")
    with socket.create_server((host, int(port))), pytest.raises(SettingsError, match=r"Choose another `\[metrics\]"):
        async with opened_shop(chain, mint, raw_settings, tmp_path):
            pytest.fail("it did start")
    del raw_settings["metrics"]
    async with opened_shop(chain, mint, raw_settings, tmp_path), httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"http://{address}/metrics")


@pytest.mark.parametrize("address", ["9464", "localhost", ":9464", "::1:9464", "127.0.0.1:x", "127.0.0.1:70000"])
async def test_an_address_that_is_none_is_refused_at_start(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path, address: str
) -> None:
    raw_settings["metrics"] = {"address": address}
    with pytest.raises(SettingsError, match="`address`"):
        async with opened_shop(chain, mint, raw_settings, tmp_path):
            pytest.fail("it did start")
