import pytest

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import AmountError
from retainer.protocol.sla import KEPT, Verdict
from retainer_provider.books.meter import Charge, Quote, decide, quote


def test_a_quote_is_whole_units_at_the_price() -> None:
    assert quote(8_000) == Quote(1, BaseUnits(8_000))
    assert quote(8_000, 30) == Quote(30, BaseUnits(240_000))
    assert quote(0, 5) == Quote(5, BaseUnits(0))


def test_a_quote_beyond_u64_is_refused() -> None:
    with pytest.raises(AmountError):
        quote(2**63, 2)


def test_a_kept_agreement_costs_what_was_quoted() -> None:
    assert decide(KEPT, quote(8_000, 3)) == Charge(charged=True, units=3, amount=BaseUnits(24_000), term=None)


def test_a_broken_agreement_is_free_and_names_its_term() -> None:
    broken = Verdict("max_latency_ms", "2100 ms, at most 2000 agreed")
    assert decide(broken, quote(8_000, 3)) == Charge(charged=False, units=0, amount=BaseUnits(0), term="max_latency_ms")
