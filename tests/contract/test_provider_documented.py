"""docs/provider.md names every problem with its status, and every command."""

import re
from pathlib import Path

from retainer.protocol.problems import ProblemType
from retainer_provider.cli import main
from retainer_provider.cli.common import ExitStatus
from retainer_provider.sessions.refusals import Refusal
from retainer_provider.wire.problems import problem_answer

PAGE = (Path(__file__).parents[2] / "docs" / "provider.md").read_text()


def test_every_problem_is_documented_with_its_status() -> None:
    documented = {
        name: int(status) for name, status in re.findall(r"^\| `(\S+:\S+)` \| (\d{3}) \|", PAGE, re.MULTILINE)
    }
    assert documented == {str(problem): problem_answer(Refusal(problem, "."), None).status for problem in ProblemType}


def test_every_command_and_exit_status_is_documented() -> None:
    table = PAGE[PAGE.index("## `retainer-provider`") :]
    assert set(re.findall(r"^\| `(\w+)", table, re.MULTILINE)) == set(main.commands)
    assert [int(number) for number in re.findall(r"(\d+) [a-z]", table[table.index("Exit status") :])] == list(
        ExitStatus
    )
