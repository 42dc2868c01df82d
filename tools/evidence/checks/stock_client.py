"""stock-client: solana-pay-kit's client, which knows nothing of retainer, lives whole sessions with the service."""

import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from tools.evidence.clones import ROOT, run_command
from tools.evidence.report import Report

TESTS = "tests/anchorpy/test_stock_client.py"
LIVES = ["metered, self-paid", "metered, sponsored", "voucher, self-paid", "voucher, sponsored"]
PLANTED_PRICE = "0.009"


async def run(report: Report) -> None:
    """Run its lives in the environment that the stock client's pins ask for, and tell what each came to on chain."""
    environ = {}
    if report.sabotage:
        environ["RETAINER_PLANTED_PRICE"] = PLANTED_PRICE
        report.plant(f"the service charges {PLANTED_PRICE} where the client counts on 0.008")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        results = Path(folder) / "results.xml"
        ready = "set -euo pipefail; . scripts/lib/setup.sh; setup_anchorpy; setup_localnet"
        test = f'.venv-anchorpy/bin/python -m pytest -q {TESTS} --junit-xml="{results}"'
        _, lines = await run_command(["bash", "-c", f"{ready}; {test}"], ROOT, echo=False, env=environ)
        told = read(results) if results.exists() else {}
    report.fact("output", lines)
    for name in LIVES:
        report.told(name, told.get(name, "did not end as it must"))
    report.equal("lives that ended with exact balances on chain", sorted(told), LIVES)
    if not told:
        print(*lines[-15:], sep="\n", file=sys.stderr)


def read(results: Path) -> dict[str, str]:
    """What the passed tests recorded."""
    return {
        str(told.get("name")): str(told.get("value"))
        for case in ET.parse(results).iter("testcase")  # noqa: S314
        if case.find("failure") is None and case.find("error") is None
        for told in case.iter("property")
    }
