"""program-bytes: the committed program is what the committed source builds."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from typing import TYPE_CHECKING

from tools.evidence.clones import ROOT, fresh_clone, run_command

if TYPE_CHECKING:
    from pathlib import Path

    from tools.evidence.report import Report

SOURCE = "programs/session_escrow/src/constants.rs"
WINDOW = ": u64 = 1_500;"
SHARED = "programs/session_escrow/artifacts/session_escrow.so"


async def run(report: Report) -> None:
    """Rebuild the program and its IDL and compare them byte for byte with the committed files."""
    with fresh_clone() if report.sabotage else nullcontext(ROOT) as folder:
        if report.sabotage:
            widen_the_window(folder)
            report.plant(f"one constant of {SOURCE} differs from what the committed program was built of")
        status, lines = await run_command(["scripts/build-program", "--check"], folder)
        report.equal("exit status of scripts/build-program --check", status, 0)
        report.told("sha256 of the committed program", hashlib.sha256((folder / SHARED).read_bytes()).hexdigest())
        report.fact("output", lines)


def widen_the_window(folder: Path) -> None:
    """Change the slot window by one, as somebody who ships other bytes than the source might."""
    path = folder / SOURCE
    text = path.read_text(encoding="utf-8")
    if text.count(WINDOW) != 1:
        message = f"{SOURCE} no longer has {WINDOW!r}"
        raise RuntimeError(message)
    path.write_text(text.replace(WINDOW, ": u64 = 1_501;"), encoding="utf-8")
