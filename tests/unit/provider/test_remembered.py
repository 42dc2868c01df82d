from retainer_provider.remembered import Remembered


def test_what_was_kept_is_found_and_what_was_unused_for_longest_makes_room() -> None:
    squares: Remembered[int, int] = Remembered(most=2)
    squares.keep(2, 4)
    squares.keep(3, 9)
    assert squares.get(2) == 4
    squares.keep(4, 16)
    assert (squares.get(2), squares.get(3), squares.get(4)) == (4, None, 16)


def test_it_never_grows_beyond_its_bound() -> None:
    found: Remembered[int, int] = Remembered(most=10)
    for number in range(1000):
        found.keep(number, number)
    assert len(found) == 10
