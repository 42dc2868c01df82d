"""The README shows the examples as they are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n# (\S+)\n(.*?)```", README, re.DOTALL)


def test_the_readme_shows_both_examples_as_the_tests_run_them() -> None:
    """A copy that drifts from the file that is executed would mislead newcomers."""
    assert [path for path, _ in BLOCKS] == ["examples/client.py", "examples/provider_asgi.py"]
    for path, shown in BLOCKS:
        assert shown == (ROOT / path).read_text(encoding="utf-8"), f"copy {path} into README.md"


def test_every_relative_link_of_the_readme_leads_somewhere() -> None:
    """Links are how a newcomer finds the rest."""
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
