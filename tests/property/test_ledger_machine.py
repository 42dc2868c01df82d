"""Some hundreds of the steps that `scripts/evidence stateful` takes by the ten thousand."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.stores import postgres_machine, sqlite_machine


def test_the_ledger_in_a_file_agrees_with_its_model() -> None:
    run_state_machine_as_test(
        sqlite_machine(), settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )


def test_the_ledger_on_postgres_agrees_with_its_model(postgres_server: str) -> None:
    run_state_machine_as_test(
        postgres_machine(postgres_server), settings=settings(max_examples=25, stateful_step_count=40, deadline=None)
    )
