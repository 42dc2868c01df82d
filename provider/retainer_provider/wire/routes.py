"""The JSON API for monitoring and the panel. Parse, call the engine once, serialize."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from retainer.protocol.actions import UseAction, VoucherAction
from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.sessions.engine import Engine
from retainer_provider.sessions.refusals import refuse
from retainer_provider.wire.answers import Answer, json_answer, send_answer
from retainer_provider.wire.credentials import read_credential
from retainer_provider.wire.door import caller_of
from retainer_provider.wire.gate import REFUSING, refusal_for
from retainer_provider.wire.openapi import DISCOVERY_PATH, openapi_document
from retainer_provider.wire.problems import STATUS_OK, STATUS_UNHEALTHY
from retainer_provider.wire.routing import Priced

Health = Callable[[], Mapping[str, str]]
"""What is wrong, a sentence by part; empty while all is well."""

_METHODS: Final = frozenset({"GET", "HEAD"})


class Api:
    """Serves its own few paths under `prefix`; `owns` tells them from the gated service's.

    With `discovery` it tells the gated routes' prices at `/openapi.json` as well, where nobody else does.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        identity: Identity,
        offers: Mapping[str, Offer],
        prefix: str,
        health: Health,
        discovery: bool,
        responders: Sequence[str] = (),
    ) -> None:
        self._engine = engine
        self._identity = identity
        self._offers = offers
        self._health = health
        self._prefix = prefix
        self._responders = responders
        self._pages: dict[str, Callable[[], Answer]] = {
            f"{prefix}/health": self._show_health,
            f"{prefix}/healthz": lambda: json_answer(STATUS_OK, {"status": "ok"}),
            f"{prefix}/readyz": self._show_health,
            f"{prefix}/openapi.json": lambda: json_answer(
                STATUS_OK, openapi_document("retainer", prefix, responders=responders)
            ),
        }
        if discovery:
            self._pages[DISCOVERY_PATH] = self._discover

    def owns(self, scope: Scope) -> bool:
        """Whether a request is the API's to answer."""
        path: str = scope["path"]
        return scope["method"] in _METHODS and (path in self._pages or self._session_id(path) is not None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one GET or HEAD that `owns` has accepted."""
        path: str = scope["path"]
        session_id = self._session_id(path)
        answer = self._pages[path]() if session_id is None else await self._show_session(scope, session_id)
        await send_answer(send, answer, scope["method"])

    def _session_id(self, path: str) -> str | None:
        head, _, session_id = path.rpartition("/")
        return session_id if session_id and head == f"{self._prefix}/sessions" else None

    async def _show_session(self, scope: Scope, session_id: str) -> Answer:
        # Any offer's challenge will do for someone who has no session yet.
        offer = next(iter(self._offers.values()))
        try:
            return await self._session(scope, session_id)
        except REFUSING as error:
            return await self._engine.refusal(refusal_for(error), Priced(offer), caller_of(scope))

    async def _session(self, scope: Scope, session_id: str) -> Answer:
        credential = read_credential(scope)
        action = None if credential is None or str(credential.action.channel_id) != session_id else credential.action
        if credential is None or not isinstance(action, UseAction | VoucherAction):
            raise refuse(
                ProblemType.VERIFICATION_FAILED,
                "A session is shown to its payer only: send the credential that pays its requests in the Authorization "
                "header. A voucher is only looked at.",
            )
        view = await self._engine.show(credential.challenge, action)
        return json_answer(STATUS_OK, view.to_json())

    def _discover(self) -> Answer:
        document = openapi_document(
            self._identity.realm, self._prefix, self._offers.values(), responders=self._responders
        )
        return json_answer(STATUS_OK, document)

    def _show_health(self) -> Answer:
        problems = self._health()
        body: dict[str, Json] = {"status": "degraded" if problems else "ok", "problems": {**problems}}
        return json_answer(STATUS_UNHEALTHY if problems else STATUS_OK, body)
