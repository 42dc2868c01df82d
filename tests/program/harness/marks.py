"""Marks for tests: the row of the attack catalogue that a test performs, and the kinds of session that it runs on."""

import pytest

from tests.program.harness.cast import EVERY_KIND, METERED, STOCK, VOUCHERS, WITH_TERMS


def row(identity: str, attack: str, *, twin: str) -> pytest.MarkDecorator:
    """This test performs `attack` of row `identity` (C01..C50) and holds that its honest `twin` lands.

    The evidence table and pytest run the same functions: the table is read off these marks.
    """
    return pytest.mark.row(identity, attack=attack, twin=twin)


every_kind = pytest.mark.parametrize("run", EVERY_KIND, ids=str)
with_terms = pytest.mark.parametrize("run", WITH_TERMS, ids=str)
stock = pytest.mark.parametrize("run", STOCK, ids=str)
metered = pytest.mark.parametrize("run", METERED, ids=str)
by_voucher = pytest.mark.parametrize("run", VOUCHERS, ids=str)
