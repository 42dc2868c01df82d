"""The states that people see are one table: the decision record shows the kernel's edges, guards included."""

import re
from pathlib import Path

from retainer.protocol.session import TRANSITIONS, SessionState

RECORD = Path(__file__).parents[2] / "docs" / "adr" / "001-session-escrow-program.md"
SECTION = re.compile(r"^## States that people see$(.*?)^## ", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| ([A-Z]+) \| ([A-Z]+) \| (.+?) \|$", re.MULTILINE)


def test_the_record_shows_the_kernels_edges() -> None:
    section = SECTION.search(RECORD.read_text(encoding="utf-8"))
    assert section is not None
    assert ROW.findall(section.group(1)) == [(edge.source.name, edge.target.name, edge.guard) for edge in TRANSITIONS]


def test_the_record_names_the_ends() -> None:
    ends = set(SessionState) - {edge.source for edge in TRANSITIONS}
    sentence = " and ".join(state.name for state in SessionState if state in ends)
    assert f"{sentence} are terminal." in RECORD.read_text(encoding="utf-8")
