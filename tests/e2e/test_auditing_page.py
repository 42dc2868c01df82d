"""docs/auditing.md shows what the commands print: the walk is walked again, and only what must differ may differ."""

from tools.auditing import PAGE, blocks, steady, walk
from tools.readme import with_examples


async def test_the_page_shows_what_the_commands_print() -> None:
    """`python -m tools.auditing` writes the page anew."""
    shown = blocks(PAGE.read_text(encoding="utf-8"))
    run = await walk()
    assert [steady(command) for command, _ in shown] == [steady(command) for command, _ in run]
    for (command, printed), (_, prints) in zip(shown, run, strict=True):
        assert steady(printed) == steady(prints), f"{command}: run python -m tools.auditing"


def test_the_page_shows_the_example_as_it_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_examples(text) == text
