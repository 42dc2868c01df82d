"""examples/openai_upstream.py behind the service: metered by the tokens that its answers name."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Shop, receipt
from tests.shop import PRICE

EXAMPLE = Path(__file__).parents[2] / "examples" / "openai_upstream.py"
ROUTE = {"path": "/paid/tokens", "max_units": 10, "count": "/usage/total_tokens", "per_unit": 100, "stream": True}


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any]) -> dict[str, Any]:
    raw_settings["offers"]["standard"]["routes"] = ["/paid/*", ROUTE]
    return raw_settings


def example() -> Any:  # noqa: ANN401
    """The example's app, from its file."""
    spec = importlib.util.spec_from_file_location("openai_upstream", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


@pytest.mark.parametrize(("words", "units"), [(1, 1), (100, 2), (101, 3)])
async def test_the_example_is_metered_by_its_tokens(shop: Shop, words: int, units: int) -> None:
    """Whole and streamed: twice the words in tokens, a unit for every hundred begun."""
    shop.upstream.app, opening = example(), await shop.opened()
    for stream in (False, True):
        asked = {"messages": [{"role": "user", "content": "word " * words}], "stream": stream}
        answer = await shop.use(opening, "/paid/tokens", content=json.dumps(asked).encode())
        assert answer.status_code == 200
        assert answer.text.count("word") == words
    assert (await shop.view(opening)).spent == 2 * units * PRICE


async def test_what_the_example_cannot_read_costs_what_it_says(shop: Shop) -> None:
    """Its 400 names a use of nothing: that is no breach, and costs nothing."""
    shop.upstream.app, opening = example(), await shop.opened()
    answer = await shop.use(opening, "/paid/tokens", content=b"nonsense")
    extension = receipt(answer).retainer
    assert extension is not None
    assert extension.metered is not None
    assert (answer.status_code, extension.metered.charged, extension.metered.amount) == (400, True, 0)
