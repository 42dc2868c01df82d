"""A few schedules of the chaos that `scripts/evidence rpc-chaos` runs by the thousand (F06, F07, F08, F13, F14)."""

from pathlib import Path

import pytest

from tests.chaos import schedule


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.row(
    "F06", attack="schedules of forks, lies and lost sends", twin="one settlement for each session, no wrong credit"
)
async def test_books_and_chain_agree_whatever_the_nodes_do(seed: int, tmp_path: Path) -> None:
    outcome = await schedule(seed, tmp_path)
    assert outcome.wrong == []
    assert outcome.met


async def test_a_liar_that_is_believed_is_found_out(tmp_path: Path) -> None:
    """The twin: the comparison does see what a false word of one node does."""
    for seed in range(100, 140, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if (await schedule(seed, folder, believed=True)).wrong:
            return
    pytest.fail("believing the liar changed nothing")
