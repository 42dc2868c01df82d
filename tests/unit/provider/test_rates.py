"""How often and how many at once (F21): exact, by an injected clock, in bounded memory."""

import pytest

from retainer_provider.rates import BURST_SECONDS, Slots, Throttle


class StillClock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> int:
        return int(self.at)

    def now_ms(self) -> int:
        return int(self.at * 1000)

    def monotonic(self) -> float:
        return self.at


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = StillClock()
    throttle = Throttle(clock, 2)
    burst = 2 * BURST_SECONDS
    assert [throttle.take("a") for _ in range(burst)] == [0] * burst
    assert throttle.take("a") == pytest.approx(0.5)
    assert throttle.take("b") == 0, "another key has a burst of its own"
    clock.at += 0.5
    assert throttle.take("a") == 0
    assert throttle.take("a") == pytest.approx(0.5)


def test_what_is_refused_costs_nothing() -> None:
    """Otherwise whoever keeps asking would never get in again."""
    clock = StillClock()
    throttle = Throttle(clock, 1)
    for _ in range(BURST_SECONDS + 1_000):
        throttle.take("a")
    clock.at += 1
    assert throttle.take("a") == 0


def test_no_limit_is_no_limit() -> None:
    throttle = Throttle(StillClock(), 0)
    assert {throttle.take("a") for _ in range(10_000)} == {0}


def test_a_million_callers_are_a_bounded_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was unheard of for longest starts afresh."""
    monkeypatch.setattr("retainer_provider.rates._REMEMBERED", 10)
    throttle = Throttle(StillClock(), 1)
    for caller in ("first", *map(str, range(10)), "first"):
        for _ in range(BURST_SECONDS):
            assert throttle.take(caller) == 0
    assert throttle.take("first") > 0
    assert throttle.take("0") == 0
    assert throttle.take("9") > 0


def test_slots_are_each_keys_own_and_come_back() -> None:
    slots = Slots(2)
    with slots.hold("a") as first, slots.hold("a") as second, slots.hold("a") as third, slots.hold("b") as other:
        assert (first, second, third, other) == (True, True, False, True)
    with pytest.raises(ValueError, match="a fault"), slots.hold("a"):
        raise ValueError("a fault")
    with slots.hold("a") as first, slots.hold("a") as second:
        assert (first, second) == (True, True)
