"""The docs site builds without a warning, from pages that all lead somewhere; what is beside it does too."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_site_builds_strictly_with_every_page(tmp_path: Path) -> None:
    built = subprocess.run(
        (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = {page.relative_to(ROOT / "docs").with_suffix("") for page in (ROOT / "docs").rglob("*.md")}
    for page in pages - {Path("index")}:
        assert (tmp_path / "site" / page / "index.html").is_file(), page


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_out_of_the_repositorys_own_pages_leads_somewhere(name: str) -> None:
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        page = ROOT / path if path else ROOT / name
        assert page.exists(), target
        if anchor:
            headings = {
                re.sub(r"[^\w\- ]", "", line.lstrip("# ")).strip().lower().replace(" ", "-")
                for line in page.read_text().splitlines()
                if line.startswith("#")
            }
            assert anchor in headings, target


def test_what_the_security_page_names_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    checks = (ROOT / "tools" / "evidence" / "__main__.py").read_text()
    for row in re.findall(r"`scripts/evidence [^|]+", text):
        for name in re.findall(r"`(?:scripts/evidence )?([a-z-]+)`", row):
            assert f'"{name}":' in checks, name
    for path in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
