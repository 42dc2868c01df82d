"""Who may see and write a session's cards: whoever can pay from the session."""

from starlette.types import Scope

from retainer.protocol.actions import UseAction, VoucherAction
from retainer.protocol.problems import ProblemType
from retainer_provider.books.records import SessionRecord
from retainer_provider.people.access import Access
from retainer_provider.sessions.engine import Engine
from retainer_provider.sessions.refusals import RefusedError, refuse
from retainer_provider.wire.credentials import read_credential


class CardAccess:
    """Takes a session's token, or the credential that pays its requests; nothing is charged for showing it."""

    def __init__(self, engine: Engine, tokens: Access) -> None:
        self._engine = engine
        self._tokens = tokens

    async def __call__(self, scope: Scope) -> SessionRecord:
        """The session that the request's token or credential is for."""
        credential = read_credential(scope)
        if credential is None:
            caller = await self._tokens.caller(scope)
            return await self._tokens.session(scope, caller.grant.session_id or "")
        if not isinstance(credential.action, UseAction | VoucherAction):
            raise refuse(
                ProblemType.VERIFICATION_FAILED,
                "Cards are shown to whoever pays for them: send the session's token, or the credential that pays its "
                "requests, in the Authorization header.",
            )
        return await self._engine.owned(credential.challenge, credential.action)

    async def lasts(self, scope: Scope) -> bool:
        """Whether what a request was let in with still lets it in: tokens are revoked, also while a stream is open."""
        if read_credential(scope) is not None:
            return True
        try:
            await self._tokens.caller(scope)
        except RefusedError:
            return False
        return True
