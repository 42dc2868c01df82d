"""A refusal: which problem it is and what to do about it. Its status code is nobody's business but `problems`'."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from retainer.protocol.encoding import Json
from retainer.protocol.errors import RetainerError
from retainer.protocol.problems import ProblemType


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served.

    `detail` is a sentence that says what to do, `retry_after` seconds, `extra` members for programs to read.
    """

    problem: ProblemType
    detail: str
    retry_after: int | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


class RefusedError(RetainerError):
    """Carries a refusal up to the adapter that answers it. Nothing was charged."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


def refuse(
    problem: ProblemType, detail: str, *, retry_after: int | None = None, extra: Mapping[str, Json] | None = None
) -> RefusedError:
    """The error to raise for a refusal."""
    return RefusedError(Refusal(problem, detail, retry_after, extra or {}))
