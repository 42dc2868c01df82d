"""Reading what retainer needs from an HTTP answer that has been read: problem, receipt, pause."""

from typing import Final

import httpx

from retainer.protocol.constants import HEADER_RECEIPT
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import Problem, parse_problem
from retainer.protocol.receipts import Receipt, parse_receipt

RECEIPT_EXTENSION: Final = "retainer"
"""Where an answer's verified receipt stands among its ``extensions``."""

_DEFAULT_PAUSE: Final = 1.0
# A service that asks for longer is asked again all the same: the caller waits, not the service.
_LONGEST_PAUSE: Final = 5.0


def problem_of(response: httpx.Response) -> Problem | None:
    """The problem that an error answer names, or None where it names none that is known."""
    if not response.is_error:
        return None
    try:
        return parse_problem(response.content)
    except MessageError:
        return None


def words_of(response: httpx.Response) -> str:
    """What a refusal says, to stand inside a sentence."""
    problem = problem_of(response)
    return problem.detail.rstrip(".") if problem else f"status {response.status_code}"


def receipt_of(response: httpx.Response) -> Receipt | None:
    """The receipt that an answer carries, or None; MessageError when there is one that cannot be read."""
    text = response.headers.get(HEADER_RECEIPT)
    return None if text is None else parse_receipt(text)


def pause_asked(response: httpx.Response | None) -> float:
    """Seconds to wait before asking again: Retry-After within reason, a default where there is no answer or a date."""
    asked: str = "" if response is None else response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else _DEFAULT_PAUSE
