"""Why something cannot be done with a card, in words that say what to do. `code` is the name that programs go by."""

from typing import Final

from retainer.protocol.problems import ProblemType
from retainer_provider.cards.records import Written
from retainer_provider.cards.titles import MAX_GRAPHEMES
from retainer_provider.sessions.refusals import RefusedError, refuse

_SENTENCES: Final = {
    ProblemType.QUICK_SESSION_UNKNOWN: "This session has no such card: list its cards to see which there are.",
    ProblemType.QUICK_SESSION_ID_COLLISION: "No free id was found for the card in three tries: send it again.",
    ProblemType.QUICK_SESSION_ARCHIVED: "This card is archived and takes nothing more: make one that refers to it.",
    ProblemType.QUICK_SESSION_TITLE_REQUIRED: (
        "This card needs a title before anybody but its creator writes on it: set one, or wait for its responder's."
    ),
    ProblemType.QUICK_SESSION_CARDS_FULL: (
        "This session has as many cards as it may, archived ones included: go on with one of them, or open another "
        "session."
    ),
    ProblemType.QUICK_SESSION_TURNS_FULL: (
        "As many turns of this session wait or stand on an error as may: wait until some are answered, or archive "
        "cards."
    ),
    ProblemType.IDEMPOTENCY_CONFLICT: "This Idempotency-Key was used for another message or card: use a new one.",
}
_WRITTEN: Final = {
    Written.UNKNOWN: ProblemType.QUICK_SESSION_UNKNOWN,
    Written.COLLISION: ProblemType.QUICK_SESSION_ID_COLLISION,
    Written.ARCHIVED: ProblemType.QUICK_SESSION_ARCHIVED,
    Written.TITLE_REQUIRED: ProblemType.QUICK_SESSION_TITLE_REQUIRED,
    Written.CONFLICT: ProblemType.IDEMPOTENCY_CONFLICT,
    Written.CARDS_FULL: ProblemType.QUICK_SESSION_CARDS_FULL,
    Written.TURNS_FULL: ProblemType.QUICK_SESSION_TURNS_FULL,
}


def refused(written: Written) -> RefusedError:
    """Why nothing was written."""
    problem = _WRITTEN[written]
    return _error(problem, _SENTENCES[problem])


def unknown_card() -> RefusedError:
    """No card, or another session's: the same answer to both."""
    return refused(Written.UNKNOWN)


def bad_id(text: str) -> RefusedError:
    """What is no card's id, whatever it looks like."""
    return _error(
        ProblemType.QUICK_SESSION_ID_INVALID,
        f"{text[:40]!r} is no card's id: one is `qs-` and 26 of 0-9 and A-Z without I, L, O and U.",
    )


def bad_title() -> RefusedError:
    """A title that is empty or too long."""
    return _error(
        ProblemType.QUICK_SESSION_TITLE_INVALID,
        f"A title is one line of 1 to {MAX_GRAPHEMES} characters: send another.",
    )


def bad_message(detail: str) -> RefusedError:
    """A message or an author that cannot be written down."""
    return _error(ProblemType.QUICK_SESSION_MESSAGE_INVALID, detail)


def unknown_responder(name: str) -> RefusedError:
    """Nobody of that name answers here."""
    return _error(
        ProblemType.RESPONDER_UNKNOWN, f"No responder is called {name[:40]!r} here: list the responders to see who is."
    )


def wrong_offer(name: str, offer: str) -> RefusedError:
    """A session that was opened for something else."""
    return _error(
        ProblemType.QUICK_SESSION_MESSAGE_INVALID,
        f"Turns of {name!r} are paid by sessions of offer {offer!r}, which this is not: open one for it.",
    )


def _error(problem: ProblemType, detail: str) -> RefusedError:
    return refuse(problem, detail, extra={"code": problem.name})
