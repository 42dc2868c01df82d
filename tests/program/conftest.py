"""Names the mark that ties a test to its row of the attack catalogue."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "row(identity, attack, twin): the attack of this row, and the honest twin of it")
