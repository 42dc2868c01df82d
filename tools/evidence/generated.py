"""Requests that schemathesis makes up from an OpenAPI document, sent to a running service, and what came of them."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import requests  # noqa: TID251 - schemathesis sends by it
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from retainer.protocol.credentials import parse_authorization
from retainer.protocol.errors import RetainerError
from tools.evidence.mutations import damaged_header, damaged_inside

_CONFORMANCE: Final = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_SERVER_ERROR: Final = 500
_SECONDS: Final = 30
_PAID_SHARE: Final = 4


class Who(StrEnum):
    """Whose credential a request carries."""

    NOBODY = "nobody"
    FORGER = "forger"  # a real credential, damaged
    PAYER = "payer"


# Every other request is the payer's: most of what is made up is refused, and each operation is to be served as well.
_CALLERS: Final = (*Who, Who.PAYER)


@dataclass(frozen=True, slots=True)
class Payer:
    """Somebody with a session: its address, and the credential that uses it."""

    session_id: str
    header: str


@dataclass(slots=True)
class Outcome:
    """What all the requests came to, by operation; each list is empty when all is well."""

    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    departures: list[str] = field(default_factory=list)


class Sender:
    """Sends what is made up for one service. Everything random comes from `seed_`."""

    def __init__(
        self, document: dict[str, Any], url: str, payer: Payer, seed_: int, known: Mapping[str, str] | None = None
    ) -> None:
        """`known` has what some paths need to name something that is there: operation -> the card that it is for."""
        self._schema = schemathesis.openapi.from_dict(document)
        self._url = url
        self._payer = payer
        self._seed = seed_
        self._known = known or {}
        self._session = requests.Session()
        self.outcome = Outcome()
        self.operations: dict[str, bool] = {}  # name -> whether it needs a credential
        self._made = []
        for made in self._schema.get_all_operations():
            if not isinstance(made, Ok):
                raise TypeError(f"the document describes an operation badly: {made.err()}")
            operation = made.ok()
            self.operations[operation.label] = _needs_payment(operation.definition.raw)
            self._made.append(operation)
        # First, and more often: what a payer is served, a few of what is made up in a hundred ask for rightly.
        self._made.sort(key=lambda operation: not self.operations[operation.label])

    def send(self, count: int) -> None:
        """Send at least `count`: a few to each operation that has nothing to vary, and the rest to the others."""
        turn, shares = 0, [_PAID_SHARE if paid else 1 for paid in self.operations.values()]
        while (missing := count - self.outcome.sent.total()) > 0:
            for operation in self._made:
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    share = _PAID_SHARE if self.operations[operation.label] else 1
                    fair = max(1, share * missing // (2 * sum(shares)))
                    self._vary(operation, mode, min(fair, 200), self._seed + turn)
                    turn += 1

    def _vary(self, operation: Any, mode: GenerationMode, count: int, seed_: int) -> None:  # noqa: ANN401 - untyped there
        @seed(seed_)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            operation.as_strategy(generation_mode=mode),
            st.sampled_from(_CALLERS),
            st.randoms(use_true_random=False),
        )
        def one(case: schemathesis.Case[Any], who: Who, rng: random.Random) -> None:
            self._one(case, who, rng)

        try:
            one()
        except Unsatisfiable:  # nothing in it can be wrong
            return

    def _one(self, case: schemathesis.Case[Any], who: Who, rng: random.Random) -> None:
        name = case.operation.label
        header = self._credential(who, rng)
        if "id" in case.path_parameters and (who is Who.PAYER or rng.random() < 0.5):  # noqa: PLR2004 - every other time
            case.path_parameters["id"] = self._payer.session_id
        card = next((card for end, card in self._known.items() if name.endswith(end)), None)
        if "card" in case.path_parameters and card is not None and (who is Who.PAYER or rng.random() < 0.5):  # noqa: PLR2004 - every other time
            case.path_parameters["card"] = card
        case.headers.pop("Authorization", None)
        if header is not None:
            case.headers["Authorization"] = header
        try:
            response = case.call(base_url=self._url, session=self._session, timeout=_SECONDS, allow_redirects=False)
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError, ValueError):
            return  # no HTTP client sends it
        self._judge(name, who, case, response)

    def _judge(self, name: str, who: Who, case: schemathesis.Case[Any], response: Any) -> None:  # noqa: ANN401 - untyped there
        outcome, status = self.outcome, response.status_code
        outcome.sent[name] += 1
        outcome.statuses[status] += 1
        if status >= _SERVER_ERROR:
            outcome.errors.append(f"{name} by {who}: {status}: {case.as_curl_command()}")
        if 200 <= status < 300:  # noqa: PLR2004 - the class of success
            if who is Who.PAYER:
                outcome.served[name] += 1
            elif self.operations[name]:
                outcome.leaks.append(f"{name} by {who}: {status}: {case.as_curl_command()}")
        try:
            case.validate_response(response, checks=_CONFORMANCE)
        except FailureGroup as group:
            outcome.departures += [f"{name} by {who}: {failure}" for failure in group.exceptions]

    def _credential(self, who: Who, rng: random.Random) -> str | None:
        if who is Who.NOBODY:
            return None
        if who is Who.PAYER:
            return self._payer.header
        while True:
            damage = damaged_inside if rng.random() < 0.5 else damaged_header  # noqa: PLR2004 - one of two
            shown = damage(rng, self._payer.header).decode("latin-1")
            try:
                if parse_authorization(shown) == parse_authorization(self._payer.header):
                    continue  # says the same in other words
            except RetainerError:
                pass
            return shown


def _needs_payment(operation: dict[str, Any]) -> bool:
    """A payer's credential, that is; a page's token is another way in, which nobody here has."""
    return any("payment" in way for way in operation.get("security", ()))
