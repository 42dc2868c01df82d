"""F27: what must never stand in a log, and the search for it in all that a service has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from solders.keypair import Keypair

    from tools.evidence.report import Report
    from tools.stage import Stage


def secrets_of(stood: Stage, keys: Sequence[Keypair] = ()) -> dict[str, str]:
    """The service's own, and ``keys`` of agents, in each way in which one could be written; by what they are."""
    settings = stood.service.settings.read_text(encoding="utf-8")
    secret = next(line.split('"')[1] for line in settings.splitlines() if line.startswith("secret = "))
    told = {"the challenge secret": secret, "an Authorization header": "Authorization: Payment"}
    for name, key in {"the operator's": stood.operator, "the payee's": stood.payee, **_numbered(keys)}.items():
        told |= {f"{name} key": str(key), f"{name} key as a file has it": str(list(bytes(key)))[1:-1]}
        told[f"{name} key in hexadecimal"] = bytes(key)[:32].hex()
    return told


def show_none(report: Report, logs: Sequence[Path], secrets: Mapping[str, str]) -> None:
    """Every line that was written, searched for every one of them."""
    texts = [log.read_text(encoding="utf-8", errors="replace") for log in logs]
    report.at_least("F27: lines of log", sum(len(text.splitlines()) for text in texts), 1)
    report.told("F27: secrets looked for in them", len(secrets))
    found = sorted(name for name, secret in secrets.items() if any(secret in text for text in texts))
    report.equal("F27: secrets found", found, [])


def _numbered(keys: Sequence[Keypair]) -> dict[str, Keypair]:
    return {f"agent {number}'s": key for number, key in enumerate(keys, start=1)}
