"""What is published: a source archive, and a wheel made from it alone, that hold the program and its IDL."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ARTIFACTS = sorted(path.name for path in (ROOT / "programs/session_escrow/artifacts").iterdir())


def build(source: Path, kind: str, to: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(to)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = to.iterdir()
    return built


def test_a_wheel_made_of_the_source_archive_holds_the_committed_program(tmp_path: Path) -> None:
    archive = build(ROOT, "sdist", tmp_path / "sdist")
    subprocess.run(["tar", "-xzf", str(archive)], cwd=archive.parent, check=True)
    (source,) = (path for path in archive.parent.iterdir() if path.is_dir())

    with zipfile.ZipFile(build(source, "wheel", tmp_path / "wheel")) as wheel:
        names = wheel.namelist()
        packed = {name: wheel.read(f"retainer/artifacts/{name}") for name in ARTIFACTS}

    assert packed == {name: (ROOT / "programs/session_escrow/artifacts" / name).read_bytes() for name in ARTIFACTS}
    assert {"session_escrow.so", "session_escrow.json", "session_escrow.legacy.json"} <= set(ARTIFACTS)
    tops = {name.split("/")[0] for name in names}
    assert tops == {"retainer", "retainer_provider", "retainer-0.1.0.dist-info"}
    assert {"retainer/py.typed", "retainer_provider/py.typed"} <= set(names)
    assert {name for name in names if "__pycache__" in name} == set()
    # The ledger's schema is plain SQL and travels with the code.
    assert any(name.startswith("retainer_provider/") and name.endswith(".sql") for name in names)
