"""What answers cost in units: F10."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer_provider.event_stream import EventSplitter, data_of, event
from retainer_provider.tariffs import RunningCount, Tariff, figure_at, said_units

BY_TOKENS = Tariff(max_units=40, count="/usage/total_tokens", per_unit=10)
EVENTS = b"data: a\n\n: ping\n\ndata: b\r\n\r\nevent: x\ndata: c\n\ndata: [DONE]\n\n"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("pointer", "document", "figure"),
    [
        ("/usage/total_tokens", '{"usage": {"total_tokens": 12}}', 12),
        ("/0/n", '[{"n": 3}]', 3),
        ("/a~1b/~0", '{"a/b": {"~": 4}}', 4),
        ("/n", '{"n": 0}', 0),
        ("/n", '{"n": -1}', None),
        ("/n", '{"n": 1.5}', None),
        ("/n", '{"n": true}', None),
        ("/n", '{"n": "7"}', None),
        ("/-1", "[1]", None),
        ("/1", "[1]", None),
        ("/n/m", '{"n": "text"}', None),
        ("/n", "not JSON", None),
        ("/n", "[" * 100_000, None),
    ],
)
def test_a_figure_is_a_whole_number_where_the_pointer_leads(pointer: str, document: str, figure: int | None) -> None:
    assert figure_at(pointer, document.encode()) == figure


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()), st.text().map("/{}".format))
def test_whatever_an_answer_holds_it_costs_between_nothing_and_the_maximum(body: bytes, pointer: str) -> None:
    for count in ("units", "events", "bytes", pointer):
        assert 0 <= Tariff(max_units=5, count=count, per_unit=3).used(None, body) <= 5


@given(st.text())
def test_a_header_is_a_number_or_nothing(text: str) -> None:
    found = said_units(text)
    assert found is None or str(found) == text.strip().lstrip("0") or found == 0


def test_a_unit_that_is_begun_costs_all_of_it() -> None:
    assert [BY_TOKENS.units_of(tokens) for tokens in (0, 1, 10, 11, 400, 401)] == [0, 1, 1, 2, 40, 40]


def test_a_fixed_price_asks_for_no_figure() -> None:
    assert Tariff(units=3, max_units=3).used(9, b"{}") == 3


@given(st.lists(st.integers(1, 9)))
def test_events_are_the_same_however_they_are_cut_into_chunks(sizes: list[int]) -> None:
    splitter, found, at = EventSplitter(), [], 0
    for size in [*sizes, len(EVENTS)]:
        found += splitter.feed(EVENTS[at : at + size])
        at += size
    assert b"".join(found) == EVENTS
    assert [data_of(one) for one in found] == [b"a", None, b"b", b"c", b"[DONE]"]
    assert splitter.rest == b""


def test_an_event_of_ours_is_read_as_one() -> None:
    [one] = EventSplitter().feed(event("payment-receipt", "abc"))
    assert data_of(one) == b"abc"


def test_events_count_until_the_service_says_its_figure() -> None:
    """F12: who leaves before the figure comes pays for the events, not the least that a request costs."""
    running = RunningCount(BY_TOKENS, lambda: None)
    for number in range(25):
        assert running.after(b"data: {}\n\n") == number // 10 + 1
    assert running.after(b'data: {"usage": {"total_tokens": 52}}\n\n') == 6
    assert running.after(b"data: [DONE]\n\n") == 6
