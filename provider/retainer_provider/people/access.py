"""Who asks: a token's session or invoice, or a problem that says what to do."""

from dataclasses import dataclass

from starlette.types import Scope

from retainer.protocol.problems import ProblemType
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.people import Grant, Invoice, TokenStage
from retainer_provider.books.records import SessionRecord
from retainer_provider.people import tokens
from retainer_provider.sessions.refusals import RefusedError, refuse
from retainer_provider.wire import headers


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever showed a token that is known and not revoked."""

    digest: str
    grant: Grant


class Access:
    """Looks tokens up in the books."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def caller(self, scope: Scope) -> Caller:
        """The request's token; RefusedError without one that is good."""
        values = headers.values(scope["headers"], "authorization")
        token = tokens.bearer(values[0]) if len(values) == 1 else None
        grant = None if token is None else await self._ledger.people.token(tokens.digest(token))
        if token is None or grant is None:
            raise _invalid("Send the session's token in the Authorization header, as Bearer.")
        if grant.stage is TokenStage.REVOKED:
            raise _invalid(
                "This token was replaced or revoked: use the newer one, or have the paying wallet sign for another."
            )
        return Caller(tokens.digest(token), grant)

    async def session(self, scope: Scope, session_id: str) -> SessionRecord:
        """The session that the request's token acts for. A top-up's token ends the older ones by this."""
        caller = await self.caller(scope)
        if caller.grant.session_id != session_id or caller.grant.stage is TokenStage.STANDBY:
            raise _invalid("This token is not for this session, or its invoice is not paid yet.")
        if caller.grant.stage is TokenStage.FRESH:
            await self._ledger.people.first_use(caller.digest)
        record = await self._ledger.session(session_id)
        if record is None:
            raise _invalid("This service knows no such session.")
        return record

    async def revoke(self, scope: Scope, session_id: str) -> None:
        """The request's token acts for nobody from now on."""
        caller = await self.caller(scope)
        if caller.grant.session_id != session_id:
            raise _invalid("This token is not for this session.")
        await self._ledger.people.revoke_token(caller.digest)

    async def invoice(self, scope: Scope, invoice_id: str) -> Invoice:
        """The invoice that the request's token was made for, or one of its session."""
        caller = await self.caller(scope)
        invoice = await self._ledger.people.invoice(invoice_id)
        if invoice is None:
            raise unknown_invoice()
        grant = caller.grant
        own = grant.invoice_id == invoice_id
        of_session = grant.stage is not TokenStage.STANDBY and grant.session_id == invoice.session_id is not None
        if not own and not of_session:
            raise unknown_invoice()
        return invoice


def unknown_invoice() -> RefusedError:
    """No invoice, or another's: the same answer to both."""
    return refuse(
        ProblemType.INVOICE_UNKNOWN,
        "There is no such invoice for this token. Unpaid ones are forgotten after a day: make a new one.",
    )


def _invalid(detail: str) -> RefusedError:
    return refuse(ProblemType.TOKEN_INVALID, detail)
