from pathlib import Path
from typing import Any

import pytest

from retainer_provider.catalog import load_offers
from retainer_provider.settings import SettingsError, settings_from
from tests.books import key
from tests.shop import DEPOSIT, MINIMUM, PRICE, offers, table


def test_amounts_are_read_in_the_tokens_units() -> None:
    offer = offers(key("mint"))["standard"]
    assert (offer.price, offer.minimum_deposit, offer.suggested_deposit) == (PRICE, MINIMUM, DEPOSIT)
    assert offer.maximum_deposit == 100_000_000
    assert offer.sla is not None
    assert (offer.sla.max_latency_ms, offer.sla.min_body_bytes) == (2000, 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"price": "0"}, r"\[routes\] free"),
        ({"price": "0.0000001"}, "finer than the token's smallest unit"),
        ({"price": "8e-3"}, "digits with at most one point"),
        ({"price": "0.09"}, "price <= minimum_deposit <= suggested_deposit"),
        ({"minimum_deposit": "1.1"}, "price <= minimum_deposit <= suggested_deposit"),
        ({"maximum_deposit": "0.9"}, "price <= minimum_deposit <= suggested_deposit"),
        ({"maximum_deposit": "9223372036854.775808"}, "must hold"),
        ({"routes": [{"path": "/a", "units": 126}]}, "could pay one request"),
        ({"sla": {"accepted_statuses": ["abc"]}}, "accepted_statuses"),
        ({"sla": {"accepted_statuses": []}}, "at least one status"),
    ],
)
def test_an_offer_that_contradicts_itself_is_refused_by_its_name(changes: dict[str, Any], sentence: str) -> None:
    raw = table(key("mint"))
    raw["offers"]["standard"].update(changes)
    with pytest.raises(SettingsError, match=sentence) as refused:
        load_offers(settings_from(raw, {}, base=Path()).offers)
    assert "[offers.standard]" in str(refused.value)


def test_without_a_maximum_the_ledgers_own_limit_holds() -> None:
    raw = table(key("mint"))
    del raw["offers"]["standard"]["maximum_deposit"]
    offer = load_offers(settings_from(raw, {}, base=Path()).offers)["standard"]
    assert offer.maximum_deposit == 2**63 - 1
