"""verify-program: `retainer verify-program` tells the released program from one that differs in a single byte."""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from retainer.localnet import Localnet
from retainer.release import program_bytes, program_hash
from tools.evidence.clones import ROOT, run_command

if TYPE_CHECKING:
    from tools.evidence.report import Report

CHANGED, CHANGED_IN_CI = 8, 2


async def run(report: Report) -> None:
    """Deploy the release, and then copies with one byte flipped, each on a validator of its own."""
    report.told("sha256 of the release", program_hash())
    with Localnet.start() as localnet:
        status, said = await verify(localnet.rpc_url)
    report.equal("exit status for the released program", status, 0)
    report.fact("released", said)
    dice = random.Random(report.seed)  # noqa: S311 - which byte is no secret
    if report.sabotage:
        report.plant("the expected bytes are read from what is deployed, as a verifier that trusts the deployer would")
    places, statuses = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(report.count(CHANGED, CHANGED_IN_CI)):
            changed, place = Path(folder) / "changed.so", dice.randrange(len(program_bytes()))
            code = bytearray(program_bytes())
            code[place] ^= 1 << dice.randrange(8)
            changed.write_bytes(code)
            with Localnet.start(program=changed) as localnet:
                trusted = ("--so", str(changed)) if report.sabotage else ()
                status, said = await verify(localnet.rpc_url, *trusted)
            places.append(place)
            statuses.append(status)
    report.fact("bytes flipped at", places)
    report.told("programs with one bit changed", len(statuses))
    report.equal("of them refused", statuses.count(1), len(statuses))
    report.told("what is said of the last", said["sentence"])


async def verify(rpc_url: str, *more: str) -> tuple[int, dict[str, object]]:
    """Exit status, and what the command says."""
    command = [sys.executable, "-m", "retainer.cli", "verify-program", "--rpc-url", rpc_url, "--json", *more]
    status, lines = await run_command(command, ROOT, echo=False)
    said: dict[str, object] = json.loads("\n".join(lines))
    return status, said
