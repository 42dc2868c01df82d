"""docs/operations.md and what the service really tells its operators are the same."""

import re
from pathlib import Path

from retainer_provider.clock import SystemClock
from retainer_provider.monitoring.metrics import Metrics
from retainer_provider.settling.settler import SettlementOutcome
from retainer_provider.settling.watcher import ChainView
from tests.books import NOW, open_session
from tests.contract.conftest import OpenLedger

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


async def test_every_metric_is_documented_with_its_labels_and_nothing_else_is(open_ledger: OpenLedger) -> None:
    ledger = await open_ledger()
    await open_session(ledger)
    view = ChainView()
    view.saw(1, NOW)
    metrics = Metrics(ledger=ledger, view=view, clock=SystemClock())
    metrics.answered("standard", "charged", 0.01)
    metrics.wrote("commit", 0.01)
    metrics.tried_to_settle("settled")
    exposition = (await metrics.exposition()).decode()
    told: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(retainer_\w+?)(?:\{(.*?)\})? ", exposition, re.MULTILINE):
        if not name.endswith(("_created", "_bucket", "_sum")):
            told[name.removesuffix("_count")] = set(re.findall(r"(\w+)=", labels))
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(retainer_\w+)` \| (.*?) ?\| ", PAGE, re.MULTILINE)
    }
    assert documented == told


def test_every_outcome_of_a_settlement_is_documented() -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith("| `retainer_settlements_total`")]
    assert all(f"`{outcome}`" in row for outcome in SettlementOutcome)
