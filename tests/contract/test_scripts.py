"""What scripts need: only building, testing and linting the panel takes a new Node, and that is said in a sentence."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
ONLY_THESE = {"build-panel", "evidence", "lint", "test"}


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_only_what_builds_tests_or_lints_the_panel_sets_it_up() -> None:
    found = {
        path.name for path in SCRIPTS.iterdir() if path.is_file() and "setup_panel" in path.read_text(encoding="utf-8")
    }
    assert found <= ONLY_THESE
    assert not found & {"panel", "demo", "localnet"}


@pytest.mark.parametrize(("node", "said"), [("v18.20.4", "node here is v18.20.4"), (None, "there is no node here")])
def test_a_node_that_is_too_old_is_told_with_what_to_install(tmp_path: Path, node: str | None, said: str) -> None:
    """As on Debian 12, whose apt has Node 18: nothing is installed that would not do."""
    if node is not None:
        program(tmp_path, "node", f'case "$1" in --version) echo {node} ;; *) exit 1 ;; esac')
        program(tmp_path, "npm", "exit 1")
    program(tmp_path, "apt-cache", "printf 'nodejs:\\n  Installed: (none)\\n  Candidate: 18.20.4+dfsg-1~deb12u1\\n'")
    program(tmp_path, "apt-get", f"touch {tmp_path}/installed")
    for tool in ("bash", "sed", "dirname", "basename", "cat"):
        (tmp_path / tool).symlink_to(Path("/usr/bin") / tool)
    ended = subprocess.run(
        [tmp_path / "bash", "-c", f". {SCRIPTS}/lib/setup.sh; ensure_panel"],
        env={"PATH": str(tmp_path), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Node 20.19 or newer" in ended.stderr
    assert "scripts/panel, scripts/demo and pip install use that" in ended.stderr
    assert not (tmp_path / "installed").exists()
