"""When a session's money was spent, as far as caps need to know: to the hour, and for a day."""

from typing import Final, TypeAlias

Marks: TypeAlias = tuple[tuple[int, int], ...]
"""By each time (Unix seconds), at least so many base units were spent; both never go down."""

HOUR: Final = 3_600
DAY: Final = 86_400


def marked(marks: Marks, at: int, spent: int, *, last: bool = False) -> Marks:
    """With what is spent by ``at``, where an hour has gone by since the last mark, or where it is the ``last``.

    Marks that are too old to matter are dropped. The time is to be read in the write that keeps the mark: one that was
    read before could be older than what another worker has spent meanwhile. Here it does not go back.
    """
    at = max(at, marks[-1][0]) if marks else at
    if marks and at - marks[-1][0] < HOUR and not last:
        return marks
    older = [mark for mark in marks if mark[0] <= at - DAY]
    return (*older[-1:], *(mark for mark in marks if mark[0] > at - DAY), (at, spent))
