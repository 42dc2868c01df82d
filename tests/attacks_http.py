"""The service's attack table: the marked tests of the rows that service, client, release and operation have to hold."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from tests.rows import RowResult, run_rows

_HERE = Path(__file__).parent
ROWS = (*(f"F{number:02}" for number in range(1, 34)), *(f"C{number}" for number in range(38, 43)))
FOLDERS = tuple(_HERE / name for name in ("unit", "contract", "property", "integration"))
UNGUARDED = "F17"
PLANTED = "the service takes every session proof for its payer's, whoever signed it and for which session"


@contextmanager
def _proofs_unchecked(_: frozenset[str]) -> Iterator[None]:
    with patch("retainer_provider.sessions.authority.verify_proof", lambda *_: True):
        yield


def perform(*, without: Sequence[str] = ()) -> list[RowResult]:
    """Performs every attack, `without` the tests that have one of these in their id."""
    return run_rows(ROWS, FOLDERS, without=without)


def perform_unguarded() -> list[RowResult]:
    """Performs the attacks of row `UNGUARDED` while the guard that `PLANTED` names is off."""
    return run_rows([UNGUARDED], FOLDERS, fault=_proofs_unchecked)
