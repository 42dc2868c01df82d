"""Opening a session: from a credential to an ACTIVE entry in the books, by way of the chain.

A deposit comes as a signed transaction for this service to send, or as the signature of one already sent. Either way
the account's state decides, read at the commitment that the settings name. A repeated credential continues where the
last one stopped, so a client that lost an answer never loses a deposit.
"""

from dataclasses import replace

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import read_session, read_token_account
from retainer.protocol.actions import OpenAction
from retainer.protocol.challenges import Challenge
from retainer.protocol.envelopes import decode_transaction
from retainer.protocol.errors import TransactionError
from retainer.protocol.pda import derive_ata, derive_vault
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionAccount
from retainer.protocol.signing import Signer
from retainer.protocol.transactions import OpenRequest
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import ActivateOutcome
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.exposure import Exposure
from retainer_provider.identity import Identity
from retainer_provider.sessions import deposits
from retainer_provider.sessions.claims import Claim, Claims, Holder, gone, require
from retainer_provider.sessions.deposits import Demands
from retainer_provider.sessions.landing import Landing, failed, unconfirmed
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.sessions.sponsoring import check_fee, co_signed


class Opener:
    """Opens sessions whose deposit the program's escrow holds; a client may call again for as long as it likes."""

    def __init__(
        self,
        *,
        claims: Claims,
        identity: Identity,
        chain: Chain,
        ledger: Ledger,
        clock: Clock,
        landing: Landing,
        exposure: Exposure,
        sponsor: Signer | None,
    ) -> None:
        self._claims = claims
        self._identity = identity
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._landing = landing
        self._exposure = exposure
        self._sponsor = sponsor

    async def open(self, challenge: Challenge, action: OpenAction) -> SessionRecord:
        """The opened session; RefusedError names what is wrong with the deposit, and credits nothing."""
        claim = await self._claims.judge(challenge, action)
        if isinstance(claim, SessionRecord):
            return claim
        if action.transaction is not None:
            return await self._deliver(claim, action.transaction)
        return await self._find(claim)

    async def open_invoiced(self, challenge: Challenge, action: OpenAction) -> SessionRecord:
        """The same for an invoice whose payer hands the transaction over, with whichever blockhash it was built."""
        claim = await self._claims.judge(challenge, action, invoiced=True)
        if isinstance(claim, SessionRecord):
            return claim
        raw = action.transaction or b""
        opening = deposits.read_transaction(raw, claim.demands)
        if isinstance(opening, Refusal):
            raise RefusedError(opening)
        request = replace(claim.demands.request, recent_blockhash=opening.blockhash)
        return await self._deliver(replace(claim, demands=replace(claim.demands, request=request)), raw)

    async def arrived(self, challenge: Challenge, action: OpenAction) -> SessionRecord | None:
        """The session of an invoice whose payer sent the transaction itself, found by its address alone.

        None while its deposit is not there, or may still be taken back by a fork.
        """
        claim = await self._claims.judge(challenge, action, invoiced=True)
        if isinstance(claim, SessionRecord):
            return claim
        account = await self._account(action, claim.demands)
        if account is None:
            return None
        level = await self._exposure.level(action.channel_id, account.deposit, claim.demands.offer.id)
        if level is not self._exposure.commitment:
            account = await self._account(action, claim.demands, level=level)
            if account is None:
                return None
        named = await self._chain.signatures_for(action.channel_id)
        # The first that names the address made it; a node may not keep so much history.
        return await self._activate(claim, account, named[-1] if named else None)

    async def _deliver(self, claim: Claim, raw: bytes) -> SessionRecord:
        """Send the agent's transaction and wait for it. It is on the books before it is sent."""
        action, demands = claim.action, claim.demands
        opening = deposits.read_transaction(raw, demands)
        if isinstance(opening, Refusal):
            raise RefusedError(opening)
        require(deposits.check_transaction(opening, action, demands))
        require(deposits.first_broken(check_fee(opening, demands.identity)))
        raw, signature = co_signed(raw, opening.missing, self._sponsor)
        account = await self._account(action, demands)
        if account is None:
            if await self._chain.signature_status(signature) is None:
                await self._send(claim, raw, replace(opening, signature=signature))
            await self._landing.confirmed(signature)
            account = await self._account(action, demands)
        if account is None:
            raise unconfirmed(signature)
        return await self._activate(claim, await self._credited(claim, account, signature), signature)

    async def _send(self, claim: Claim, raw: bytes, opening: OpenRequest) -> None:
        # The newest slot: the challenge's own may stem from a node that is a little ahead.
        slot = await self._chain.slot(commitment=Commitment.PROCESSED)
        require(deposits.check_open_slot(claim.action.open_slot, slot))
        if await self._ledger.session(claim.session_id) is None:
            # What cannot take effect is not worth a row: rows are for ever.
            simulation = await self._chain.simulate(raw)
            if simulation.error is not None:
                known = await self._ledger.session(claim.session_id)
                if known is not None and known.creation_signature == opening.signature:
                    return  # the same credential on another connection: on the books before it was sent, it has landed
                if await self._chain.signature_status(opening.signature or "") is not None:
                    return
                raise failed(simulation.error)
            await self._claims.admit(claim, _holder(opening), opening.signature)
        await self._landing.send(raw)

    async def _find(self, claim: Claim) -> SessionRecord:
        """A deposit the agent sent itself. Nothing is written before the account is there: pointing costs nothing."""
        action = claim.action
        signature = str(action.signature)
        await self._landing.confirmed(signature)
        pointed = await self._chain.transaction(signature, commitment=self._identity.commitment)
        if pointed is None:
            raise unconfirmed(signature)
        if not _names(pointed.raw, action.channel_id):
            raise refuse(
                ProblemType.DEPOSIT_FOREIGN,
                f"Transaction {signature} does not touch session {action.channel_id}: "
                "name the one that opened it, or open a session.",
            )
        account = await self._account(action, claim.demands, min_slot=pointed.slot)
        if account is None:
            raise refuse(
                ProblemType.DEPOSIT_FOREIGN,
                f"There is no session at {action.channel_id}: transaction {signature} opened none, or it is closed. "
                "Open a new one.",
            )
        return await self._activate(claim, await self._credited(claim, account, signature), signature)

    async def _credited(self, claim: Claim, account: SessionAccount, signature: str) -> SessionAccount:
        """The account as of the level at which so large a deposit counts, waited for (F06)."""
        action, demands = claim.action, claim.demands
        level = await self._exposure.level(action.channel_id, account.deposit, demands.offer.id)
        if level is self._exposure.commitment:
            return account
        await self._landing.confirmed(signature, level)
        final = await self._account(action, demands, level=level)
        if final is None:
            raise unconfirmed(signature)
        return final

    async def _account(
        self, action: OpenAction, demands: Demands, min_slot: int | None = None, level: Commitment | None = None
    ) -> SessionAccount | None:
        """The session's account, judged together with its escrow as of one slot; None while there is none."""
        session = action.channel_id
        vault, _ = derive_vault(session, demands.identity.program_id)
        ata = derive_ata(session, demands.offer.mint, demands.offer.token_program)
        found, *escrows = await self._chain.accounts(
            [session, vault, ata], commitment=level or demands.identity.commitment, min_slot=min_slot
        )
        if found is None:
            return None
        try:
            account = read_session(found, demands.identity.program_id)
            require(deposits.check_account(account, action, demands))
            escrow = next((info for info in escrows if info is not None and info.address == account.escrow), None)
            if escrow is None:
                raise ForeignAccountError(f"{account.escrow} is not the escrow of session {session}")
            require(deposits.check_escrow(read_token_account(escrow), escrow.owner, session, account, demands))
        except ForeignAccountError as error:
            raise refuse(ProblemType.DEPOSIT_FOREIGN, f"{error}. Open a session of this service's program.") from None
        return account

    async def _activate(self, claim: Claim, account: SessionAccount, signature: str | None) -> SessionRecord:
        session_id = claim.session_id
        await self._claims.admit(claim, _holder(account), signature)
        outcome = await self._ledger.activate(session_id, account, signature, self._clock.now())
        record = await self._ledger.session(session_id)
        if outcome is ActivateOutcome.NOT_PENDING or record is None:
            raise gone(session_id)
        return record


def _holder(stated: OpenRequest | SessionAccount) -> Holder:
    return Holder(stated.operator, stated.rent_payer, stated.escrow)


def _names(raw: bytes, session: Pubkey) -> bool:
    """Whether a transaction names the session among its own keys, as one that opens it must."""
    try:
        return session in decode_transaction(raw).message.account_keys
    except TransactionError:
        return False
