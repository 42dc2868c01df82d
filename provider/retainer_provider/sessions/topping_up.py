"""Adding to an open session's deposit: the agent's signed transaction is landed, then the account is read.

The books take over what the account says, never what a transaction adds: however often one is shown, by however many
callers at once, its money counts once (F02).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import session_account
from retainer.protocol.actions import TopUpAction
from retainer.protocol.challenges import Challenge
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import ChainStatus
from retainer.protocol.signing import Signer
from retainer.protocol.transactions import TopUpRequest
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.exposure import Exposure
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.sessions.landing import Landing, failed, unconfirmed
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.sessions.sponsoring import co_signed
from retainer_provider.sessions.top_ups import check_limit, check_session, check_top_up, read_top_up
from retainer_provider.wire.challenger import Challenger

_ALREADY_LANDED: Final = "AlreadyProcessed"  # the runtime's word in a simulation


class Topper:
    """The payer's signature on the transaction is its authority; a repeated credential continues or finds it done."""

    def __init__(
        self,
        *,
        identity: Identity,
        offers: Mapping[str, Offer],
        challenger: Challenger,
        chain: Chain,
        ledger: Ledger,
        clock: Clock,
        landing: Landing,
        exposure: Exposure,
        sponsor: Signer | None,
    ) -> None:
        self._identity = identity
        self._offers = offers
        self._challenger = challenger
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._landing = landing
        self._exposure = exposure
        self._sponsor = sponsor
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def top_up(self, challenge: Challenge, action: TopUpAction) -> SessionRecord:
        """The session with its greater deposit; RefusedError names what is wrong, and credits nothing.

        The challenge may be the one that opened the session or a later one; the transaction's own blockhash is what
        limits how long a credential can move money.
        """
        self._challenger.require_ours(challenge)
        return await self.add(action)

    async def add(self, action: TopUpAction) -> SessionRecord:
        """The same without a challenge: the payer's signature on the transaction is all that it takes."""
        top_up = read_top_up(action, self._identity)
        if isinstance(top_up, Refusal):
            raise RefusedError(top_up)
        record = await self._open_session(action.channel_id)
        _require(check_top_up(top_up, action, record, self._identity))
        # Callers who race with one transaction share one landing of it.
        raw, signature = co_signed(action.transaction, top_up.missing, self._sponsor)
        task = self._under_way.get(signature)
        if task is None:
            task = asyncio.ensure_future(self._land(raw, signature, top_up, record))
            self._under_way[signature] = task
            task.add_done_callback(lambda _: self._under_way.pop(signature, None))
        await asyncio.shield(task)
        return await self._open_session(action.channel_id)

    async def arrived(self, record: SessionRecord) -> SessionRecord:
        """The session after a look at its account: what its payer added by itself counts as soon as it may."""
        us, session = self._identity, Pubkey.from_string(record.session_id)
        level = us.commitment
        try:
            account = await session_account(self._chain, session, program_id=us.program_id, commitment=level)
            if account is not None and account.deposit > record.deposit:
                level = await self._exposure.level(session, account.deposit, record.offer_id)
            if level is not us.commitment:
                account = await session_account(self._chain, session, program_id=us.program_id, commitment=level)
        except ForeignAccountError:
            account = None
        # Of a session that ended, or that a fork has changed, others find out.
        if account is None or account.opened_at != record.opened_at or account.deposit <= record.deposit:
            return record
        await self._ledger.update_deposit(record.session_id, account.deposit, self._clock.now())
        return await self._ledger.session(record.session_id) or record

    async def aclose(self) -> None:
        """Stop waiting for the chain; what lands all the same, the watcher finds."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open_session(self, channel_id: Pubkey) -> SessionRecord:
        record = await self._ledger.session(str(channel_id))
        if record is None:
            raise refuse(
                ProblemType.SESSION_UNKNOWN,
                f"This service knows no session {channel_id}: open one with the fresh challenge.",
            )
        _require(check_session(record, self._clock.now()))
        return record

    async def _land(self, raw: bytes, signature: str, top_up: TopUpRequest, record: SessionRecord) -> None:
        if await self._chain.signature_status(signature) is None:
            _require(check_limit(top_up, record, self._offers.get(record.offer_id), self._identity))
            # A transaction that fails on chain costs its fee all the same.
            simulation = await self._chain.simulate(raw)
            if simulation.error is None:
                await self._landing.send(raw)
            elif _ALREADY_LANDED not in simulation.error and await self._chain.signature_status(signature) is None:
                raise failed(simulation.error)
            # Otherwise another process has sent it, and it has landed meanwhile.
        await self._landing.confirmed(signature)
        status = await self._chain.signature_status(signature)
        if status is None:
            raise unconfirmed(signature)
        await self._take_over(record, top_up.session, status.slot, signature)

    async def _take_over(self, record: SessionRecord, session: Pubkey, slot: int, signature: str) -> None:
        """Let the books say what the account says, as of a slot that has the top-up in it.

        Where more would be at risk than the offer allows, that is a final one (F06).
        """
        us = self._identity
        try:
            account = await session_account(
                self._chain, session, program_id=us.program_id, commitment=us.commitment, min_slot=slot
            )
            level = us.commitment
            if account is not None:
                level = await self._exposure.level(session, account.deposit, record.offer_id)
            if level is not us.commitment:
                await self._landing.confirmed(signature, level)
                account = await session_account(
                    self._chain, session, program_id=us.program_id, commitment=level, min_slot=slot
                )
        except ForeignAccountError as error:
            raise refuse(ProblemType.DEPOSIT_FOREIGN, f"{error}. Open a session of this service's program.") from None
        if account is None or account.opened_at != record.opened_at:
            raise refuse(
                ProblemType.SESSION_CLOSED, f"Session {session} was closed on chain in the meantime: open another."
            )
        await self._ledger.update_deposit(record.session_id, account.deposit, self._clock.now())
        if account.status is not ChainStatus.OPEN:
            raise refuse(
                ProblemType.SESSION_CLOSING,
                f"Session {session} is ending on chain; what was added goes back with the rest: open another.",
            )


def _require(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RefusedError(refusal)
