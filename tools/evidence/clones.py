"""A fresh clone to run the project's own commands in, and what they leave running."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def fresh_clone() -> Iterator[Path]:
    """Clone the committed state of this repository into a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        clone = Path(folder) / "retainer"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        yield clone


async def run_command(
    arguments: list[str], folder: Path, *, echo: bool = True, env: dict[str, str] | None = None
) -> tuple[int, list[str]]:
    """Run a command to its end and return its exit status and the lines of its output.

    Its own environment is clean of the caller's virtual environment, as a newcomer's would be.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTHON"))}
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=folder,
        env={**clean, **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None  # noqa: S101 - asked for just above
    lines = []
    async for raw in process.stdout:
        line = raw.decode(errors="replace").rstrip("\n")
        lines.append(line)
        if echo:
            print(f"    | {line}", flush=True)
    return await process.wait(), lines


def processes_under(folder: Path) -> list[str]:
    """Command lines of the running processes that were started in or from `folder`."""
    left = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            place = str((entry / "cwd").readlink())
        except OSError:
            continue  # ended meanwhile, or another user's
        if str(folder) in command or place.startswith(str(folder)):
            left.append(command)
    return left
