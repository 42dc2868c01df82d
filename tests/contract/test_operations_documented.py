"""docs/operations.md and what the service really tells its operators are the same."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.cli import main
from retainer_provider.clock import SystemClock
from retainer_provider.keys import load_secrets
from retainer_provider.monitoring.metrics import Metrics
from retainer_provider.settings import load_settings
from retainer_provider.settling.settler import SettlementOutcome
from retainer_provider.settling.watcher import ChainView
from tests.books import NOW, key, open_session
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


def test_every_alert_is_about_metrics_that_there_are() -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    [group] = yaml.safe_load(block)["groups"]
    documented = set(re.findall(r"^\| `(retainer_\w+)` \|", PAGE, re.MULTILINE))
    for rule in group["rules"]:
        named = {name.removesuffix("_bucket") for name in re.findall(r"retainer_\w+", rule["expr"])}
        assert named, rule
        assert named <= documented, rule
        assert rule["annotations"]["summary"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that stands for `/`: settings and keys in etc/retainer, books of three sessions in var/lib/retainer."""
    etc, books = tmp_path / "etc" / "retainer", tmp_path / "var" / "lib" / "retainer" / "retainer.sqlite"
    made = CliRunner().invoke(main, ["init", str(etc), "--realm", "shop.test", "--mint", str(key("mint"))])
    assert made.exit_code == 0, made.output
    settings = etc / "retainer.toml"
    settings.write_text(settings.read_text().replace('"retainer.sqlite"', f'"{books}"'))
    books.parent.mkdir(parents=True)

    async def sold() -> None:
        ledger = await SqliteLedger.open(books)
        for salt in range(3):
            await open_session(ledger, salt)
        await ledger.aclose()

    asyncio.run(sold())
    return tmp_path


def drill(name: str, root: Path) -> str:
    """Run the page's commands under `root` as they stand; what they say."""
    [block] = re.findall(rf"<!-- drill: {name} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    commands = re.sub(r"(?<![\w.])/(etc|var)/", rf"{root}/\1/", block)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ("bash", "-euc", commands), env={"PATH": path, "HOME": str(root)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_backup_and_the_restore_drill_are_what_the_page_says(installed: Path) -> None:
    drill("backup", installed)
    copy = installed / "var" / "backups" / "retainer" / "books.sqlite"
    assert copy.stat().st_mode & 0o077 == 0
    told = drill("restore", installed)
    assert "books.sqlite: OK" in told
    assert told.splitlines()[-1] == "3 sessions"
    assert [file.name for file in (installed / "var" / "lib" / "retainer").glob("drill*")] == []


def test_a_rotated_secret_signs_and_the_one_before_still_verifies(installed: Path) -> None:
    settings = load_settings(installed / "etc" / "retainer" / "retainer.toml", {})
    [before] = load_secrets(settings.service)
    drill("rotate", installed)
    first, second = load_secrets(settings.service)
    assert (second, first != before) == (before, True)
    told = CliRunner().invoke(main, ["check", "--json", "--config", str(installed / "etc/retainer/retainer.toml")])
    assert json.loads(told.output)["findings"][0]["ok"]


def test_every_command_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"retainer-provider (\w+)", PAGE)) - {"in"}
    assert named <= set(main.commands), named - set(main.commands)
