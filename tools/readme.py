"""Copies the examples into README.md: python -m tools.readme."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def with_examples(readme: str) -> str:
    """The README's text with each `# examples/...` block replaced by its file."""

    def filled(block: re.Match[str]) -> str:
        path = block.group(1)
        return f"```python\n# {path}\n{(ROOT / path).read_text(encoding='utf-8')}```"

    return re.sub(r"```python\n# (\S+)\n.*?```", filled, readme, flags=re.DOTALL)


if __name__ == "__main__":
    page = ROOT / "README.md"
    page.write_text(with_examples(page.read_text(encoding="utf-8")), encoding="utf-8")
