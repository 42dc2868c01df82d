"""vectors: the published vectors, derived again by Python's kernel and by a Rust program that shares none of it."""

import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from tools.evidence.clones import ROOT, run_command
from tools.evidence.report import Report

PUBLISHED = ROOT / "tests" / "vectors"
# File -> the test file that reads it.
TESTS = {"addresses": "pda", "vouchers": "vouchers", "sla": "sla", "transactions": "transactions"}
# How each instruction lists its accounts; Rust meets those of `open` and `top_up` in `transactions`.
PYTHON_ONLY = {"instructions"}
# Value -> the same with one character changed, one for each file.
SPOILED = {
    "addresses": ("FZcJx43kwLAzWUWrfTZGG7Qwv4QpfYuAeZLTn8eG6Pgu", "GZcJx43kwLAzWUWrfTZGG7Qwv4QpfYuAeZLTn8eG6Pgu"),
    "vouchers": ("560109090909", "560109090908"),
    "sla": ("1a21eb7eb00b91e9", "1a21eb7eb00b91e8"),
    "transactions": ('"deposit": "1000000"', '"deposit": "1000001"'),
}


async def run(report: Report) -> None:
    """Check every file from both sides."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") if report.sabotage else nullcontext() as spoiled:
        folder = PUBLISHED
        if spoiled is not None:
            folder = spoil(Path(spoiled) / "vectors")
            report.plant(f"one character changed in each of {', '.join(SPOILED)}")
        names = sorted(path.stem for path in folder.glob("*.json"))
        report.told("files", names)
        derived = await by_rust(folder)
        for name, outcome in derived.items():
            report.told(f"Rust, {name}", outcome)
        wrong = [name for name in names if name not in PYTHON_ONLY and "again" not in derived.get(name, "")]
        report.equal("files that Rust does not derive again", wrong, [])
        arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "tests/unit/protocol"]
        status, lines = await run_command(arguments, ROOT, echo=False, env={"RETAINER_VECTORS": str(folder)})
        report.told("Python, the kernel's tests that read them", lines[-1])
        report.equal("exit status of those tests", status, 0)
        if report.sabotage:
            noticed = {name for name in SPOILED if any(f"test_{TESTS[name]}.py" in line for line in lines)}
            report.told("spoiled files that each side noticed", {"Rust": sorted(wrong), "Python": sorted(noticed)})


async def by_rust(folder: Path) -> dict[str, str]:
    """What the Rust program says of each file."""
    ready = "set -euo pipefail; . scripts/lib/setup.sh; setup_rust_tools"
    build = "cargo run --quiet --release --locked --target-dir target/vectors"
    program = f'{build} --manifest-path tests/vectors/rust/Cargo.toml -- "{folder}"'
    _, lines = await run_command(["bash", "-c", f"{ready}; {program}"], ROOT, echo=False)
    found = dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(" "))
    if not found:
        print(*lines, sep="\n", file=sys.stderr)
    return {name: said[:160] for name, said in found.items()}


def spoil(folder: Path) -> Path:
    """A copy with one character changed in some of its files."""
    shutil.copytree(PUBLISHED, folder, ignore=shutil.ignore_patterns("rust"))
    for name, (right, wrong) in SPOILED.items():
        path = folder / f"{name}.json"
        text = path.read_text(encoding="utf-8")
        if right not in text:
            message = f"{path.name} no longer has {right!r}"
            raise RuntimeError(message)
        path.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    return folder
