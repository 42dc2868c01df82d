"""F27: whatever a test made the service write, no key, secret or credential stands in it."""

from collections.abc import Mapping

import pytest
from solders.keypair import Keypair


def written_of(keys: Mapping[str, Keypair], secrets: Mapping[str, str]) -> dict[str, str]:
    """What to look for, by its name: keys in each way in which one could be written, and other secrets."""
    told = {**secrets, "a credential": "Authorization: Payment "}
    for name, key in keys.items():
        told |= {name: str(key), f"{name} as a file has it": str(list(bytes(key)))[1:-1]}
        told[f"{name} in hexadecimal"] = bytes(key)[:32].hex()
    return told


def without_leaks(report: pytest.TestReport, told: Mapping[str, str]) -> pytest.TestReport:
    """The report, failed where one of them stands in what the test wrote."""
    written = [text for title, text in report.sections if title.endswith(str(report.when))]
    found = [name for name, secret in told.items() if any(secret in text for text in written)]
    if found and report.passed:
        report.outcome, report.longrepr = "failed", f"F27: {', '.join(found)} stands in what was written"
    return report
