"""The walk that docs/auditing.md shows: `python -m tools.auditing` runs it and writes what came out there."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from retainer import SessionClient
from tools.evidence.upstream import Upstream, running
from tools.readme import with_examples
from tools.stage import OFFER, Stage, stage

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "auditing.md"
IDL: Final = ROOT / "programs" / "session_escrow" / "artifacts" / "session_escrow.json"
SLOT_MS: Final = 50
_PROGRAMS: Final = {"retainer": "retainer.cli", "retainer-provider": "retainer_provider"}
_BLOCK: Final = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```", re.DOTALL)
# What differs from run to run; the words around it must not.
_VARYING: Final = (
    (re.compile(r"http://127\.0\.0\.1:\d+"), "URL"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b[1-9A-HJ-NP-Za-km-z]{80,90}\b"), "SIGNATURE"),
    (re.compile(r"\b[1-9A-HJ-NP-Za-km-z]{32,44}\b"), "KEY"),
    (re.compile(r"salt \d+ and slot \d+(, bump \d+)?"), "SEEDS"),
    (re.compile(r"\bat an unknown time\b"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "TIME"),
    (re.compile(r" {2,}"), "  "),  # columns are as wide as the keys in them
    (re.compile(r'"(timestampMs|latencyMs|opened_at)": ?\d+'), r'"\1":N'),
)


@dataclass(slots=True)
class Walk:
    """Commands as the page shows them, with what they printed."""

    folder: Path
    rpc_url: str
    shown: list[tuple[str, str]] = field(default_factory=list)

    async def run(self, command: str) -> str:
        """Run one of ours in the walk's folder, and note it."""
        name, *words = command.partition(" > ")[0].split()
        target = command.partition(" > ")[2]
        program = ["-m", _PROGRAMS[name], *words] if name in _PROGRAMS else words
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *program),
            cwd=self.folder,
            env={**os.environ, "RETAINER_RPC_URL": self.rpc_url, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output = (await process.communicate())[0].decode()
        if target:
            (self.folder / target).write_text(output)
        self.shown.append((command, "" if target else output))
        return output


async def walk() -> list[tuple[str, str]]:
    """A session of four requests, one of which breaks the SLA; then the auditor's questions, one by one."""
    with tempfile.TemporaryDirectory(prefix="retainer-auditing-") as name:
        folder = Path(name)
        async with (
            running(Upstream()) as upstream,
            stage(folder, upstream=upstream.url, offers=OFFER, slot_ms=SLOT_MS) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url, receipts=folder / "receipts") as client,
        ):
            return await _asked(Walk(folder, stood.rpc_url), stood, client)


async def _asked(page: Walk, stood: Stage, client: SessionClient) -> list[tuple[str, str]]:
    session = (await client.create_session(stood.url, "1.0")).session_id
    for number in range(4):
        fault = "&fault=error" if number == 2 else ""  # noqa: PLR2004  the third
        await client.request("GET", f"{stood.url}?q={number}{fault}", session=session)
    await page.run(f"retainer audit session {session} --offer {stood.url}")
    signature = (await client.close_session(session)).signature
    await page.run(f"retainer audit session {session}")
    shutil.copy(stood.service.settings, page.folder / "retainer.toml")
    (page.folder / "logs").mkdir()
    log = page.folder / "logs" / f"{session}.jsonl"
    await page.run(f"retainer-provider export {session} > logs/{log.name}")
    await page.run(f"retainer audit settlement {signature} --log logs/{log.name} --receipts receipts")
    honest = log.read_text()
    # The provider tries to pass the breach off as fine.
    log.write_text(honest.replace('"status":500', '"status":200'))
    await page.run(f"retainer audit settlement {signature} --log logs/{log.name} --receipts receipts")
    log.write_text(honest)
    await stood.until_final(signature)
    await page.run(f"retainer audit provider {stood.operator.pubkey()} --logs logs --receipts receipts")
    shutil.copy(IDL, page.folder)
    shutil.copy(ROOT / "examples" / "audit_plain_idl.py", page.folder)
    await page.run(f"python audit_plain_idl.py {stood.rpc_url} {IDL.name} {signature}")
    return page.shown


def blocks(text: str) -> list[tuple[str, str]]:
    """Commands and outputs that the page shows."""
    return [(found["command"], found["output"]) for found in _BLOCK.finditer(text)]


def with_output(text: str, shown: list[tuple[str, str]]) -> str:
    """The page with the blocks in its order replaced by what was run."""
    fresh = iter(shown)

    def filled(_: re.Match[str]) -> str:
        command, output = next(fresh)
        return f"```console\n$ {command}\n{output}```"

    return _BLOCK.sub(filled, text)


def steady(text: str) -> str:
    """The same without what differs from run to run."""
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text


if __name__ == "__main__":
    page = with_output(PAGE.read_text(encoding="utf-8"), asyncio.run(walk()))
    PAGE.write_text(with_examples(page), encoding="utf-8")
