"""`collect_seldom` rests on it: a request leaves nothing behind that only a collection would find."""

import gc
from collections.abc import Iterator

import pytest

from retainer_provider.cli.garbage import collect_seldom
from tests.integration.conftest import Shop, raw_request

REQUESTS = 20


@pytest.fixture
def collector() -> Iterator[None]:
    """The interpreter's collector, as it was afterwards."""
    before = gc.get_threshold()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
        gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
async def test_serving_makes_no_cycles(shop: Shop) -> None:
    opening = await shop.opened()
    for header in (opening.use(), opening.use(), "Payment e30"):
        await raw_request(shop.app, b"/paid/x", header)
    gc.collect()
    gc.disable()
    for _ in range(REQUESTS):
        assert await raw_request(shop.app, b"/paid/x", opening.use()) == 200
    served = gc.collect()
    for _ in range(REQUESTS):
        assert await raw_request(shop.app, b"/paid/x", "Payment e30") == 402
    refused = gc.collect()
    # The workers of the service run beside it, so that there may be a few: but not one for each request.
    assert served < REQUESTS
    assert refused < REQUESTS


@pytest.mark.usefixtures("collector")
def test_what_is_there_at_the_start_is_not_looked_through_again() -> None:
    collect_seldom()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 700
    kept = [[index] for index in range(1_000)]
    before = gc.get_stats()[0]["collections"]
    kept += [[index] for index in range(1_000)]
    assert len(kept) == 2_000
    assert gc.get_stats()[0]["collections"] == before
