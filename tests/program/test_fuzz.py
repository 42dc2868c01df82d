"""A short run of the fuzzer in every test run; the evidence runs it long. That it finds a fault is tested too."""

import pytest

from tests.program.fuzz import FuzzFailure, run

INSTRUCTIONS = {"open", "open_with_terms", "top_up", "settle", "close", "request_close", "withdraw"}


@pytest.mark.property
@pytest.mark.parametrize("seed", [1, 2])
def test_chain_and_oracle_never_differ(seed: int) -> None:
    report = run(4_000, seed)
    assert report.instructions >= 4_000
    assert set(report.landed) == set(report.refused) == INSTRUCTIONS
    assert report.exits > 200
    assert report.paid_in + report.given == report.settled + report.refunded + report.escrowed


@pytest.mark.property
def test_the_same_seed_gives_the_same_run() -> None:
    first, second = run(1_000, 3), run(1_000, 3)
    assert (first.landed, first.refused, first.reasons) == (second.landed, second.refused, second.reasons)
    assert (first.settled, first.refunded, first.exits) == (second.settled, second.refunded, second.exits)


@pytest.mark.property
def test_an_oracle_that_is_one_base_unit_off_is_found_out() -> None:
    with pytest.raises(FuzzFailure, match="seed 4, transaction"):
        run(4_000, 4, sabotage=True)
