"""Who may see and write a session's cards: whoever can pay from the session."""

from starlette.types import Scope

from retainer.protocol.actions import UseAction, VoucherAction
from retainer.protocol.problems import ProblemType
from retainer_provider.books.records import SessionRecord
from retainer_provider.sessions.engine import Engine
from retainer_provider.sessions.refusals import refuse
from retainer_provider.wire.credentials import read_credential


class PaymentAccess:
    """Takes the credential that pays the session's requests; nothing is charged for showing it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope) -> SessionRecord:
        """The session that the request's credential is for."""
        credential = read_credential(scope)
        if credential is None or not isinstance(credential.action, UseAction | VoucherAction):
            raise refuse(
                ProblemType.VERIFICATION_FAILED,
                "Cards are shown to whoever pays for them: send the credential that pays the session's requests in the "
                "Authorization header. Nothing is charged for it here.",
            )
        return await self._engine.owned(credential.challenge, credential.action)
