"""A lost token, cleared storage: replaced against a message that the paying wallet signs."""

from collections.abc import Sequence
from typing import Final

from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.people import ReplaceOutcome
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.people import tokens
from retainer_provider.people.proofs import Request
from retainer_provider.sessions.engine import Engine
from retainer_provider.sessions.refusals import RefusedError, refuse
from retainer_provider.sessions.vouchers import check_metered

_SECONDS: Final = 5 * 60


class Recovery:
    """`secrets` sign what is to be signed: the first makes, the others still verify."""

    def __init__(self, *, realm: str, secrets: Sequence[bytes], ledger: Ledger, engine: Engine, clock: Clock) -> None:
        self._realm = realm
        self._secrets = tuple(secrets)
        self._ledger = ledger
        self._engine = engine
        self._clock = clock

    async def ask_for_token(self, session_id: str) -> dict[str, Json]:
        """What the session's wallet signs for a token."""
        record = await self._record(session_id)
        return (await self._for_token(record, self._clock.now() + _SECONDS)).to_json(self._secrets[0])

    async def replace_token(self, session_id: str, nonce: str, expires_at: int, signature: Signature) -> str:
        """The new token; all others of the session are revoked. Each signature is good for one."""
        record = await self._record(session_id)
        request = await self._for_token(record, expires_at)
        self._require(request, nonce, signature)
        token = tokens.new_token()
        outcome = await self._ledger.people.replace_tokens(
            session_id, tokens.digest(token), request.generation, self._clock.now()
        )
        if outcome is ReplaceOutcome.STALE:
            raise _unproven()
        return token

    def ask_for_sessions(self, wallet: Pubkey) -> dict[str, Json]:
        """What a wallet signs to be shown its sessions."""
        return self._for_sessions(wallet, self._clock.now() + _SECONDS).to_json(self._secrets[0])

    async def sessions(self, wallet: Pubkey, nonce: str, expires_at: int, signature: Signature) -> list[Json]:
        """A wallet's sessions here that are not over, newest first; looking at them changes nothing."""
        self._require(self._for_sessions(wallet, expires_at), nonce, signature)
        found: list[Json] = []
        for session_id in await self._ledger.people.sessions_of(str(wallet)):
            record = await self._ledger.session(session_id)
            if record is not None:
                found.append((await self._engine.view(record)).to_json())
        return found

    async def _record(self, session_id: str) -> SessionRecord:
        record = await self._ledger.session(session_id)
        if record is None:
            raise refuse(ProblemType.SESSION_UNKNOWN, "This service knows no such session: look for it by your wallet.")
        if refusal := check_metered(record):
            raise RefusedError(refusal)
        return record

    async def _for_token(self, record: SessionRecord, expires_at: int) -> Request:
        generation = await self._ledger.people.generation(record.session_id)
        return Request(self._realm, record.payer, record.session_id, generation, expires_at)

    def _for_sessions(self, wallet: Pubkey, expires_at: int) -> Request:
        return Request(self._realm, wallet, "", 0, expires_at)

    def _require(self, request: Request, nonce: str, signature: Signature) -> None:
        # No later than what was handed out: an expiry of the client's own makes another nonce.
        if not request.proven(self._secrets, nonce, signature, self._clock.now()):
            raise _unproven()


def _unproven() -> RefusedError:
    return refuse(
        ProblemType.TOKEN_INVALID,
        "The signature does not fit the text, or the text is used or too old: ask for a new one, and sign it with the "
        "wallet that paid.",
    )
