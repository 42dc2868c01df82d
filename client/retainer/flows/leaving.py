"""The payer's own exit, for when a service does not answer or cannot be believed: nobody else is needed for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain
from retainer.chain.confirm import ConfirmationOutcome, Timer, confirm
from retainer.chain.errors import SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.sessions import read_session
from retainer.channels.channel import Settlement
from retainer.errors import NotDueError, PinError, SessionError, UnknownSessionError
from retainer.flows.settlements import find_settlement
from retainer.protocol.instructions import create_ata_idempotent, request_close, withdraw
from retainer.protocol.pda import derive_ata
from retainer.protocol.session import ChainStatus, SessionAccount
from retainer.protocol.signing import Signer
from retainer.trust.pins import Pins
from retainer.wallet import sign_transaction

_CONFIRMATION_SECONDS: Final = 60.0
_LOOK_AGAIN_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Leaving:
    """How far the payer's exit has come: gone where there is a ``settlement``, else withdrawable ``available_at``.

    ``available_at`` is in Unix seconds of the chain; ``signature`` the transaction that this call sent, if it sent one.
    """

    signature: str | None = None
    available_at: int | None = None
    settlement: Settlement | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """The payer's own exit from its sessions. It keeps nothing: all that it needs to go on stands on chain."""

    chain: Chain
    signer: Signer
    pins: Pins
    timer: Timer

    async def request_close(self, address: Pubkey) -> Leaving:
        """Start the grace period, after which ``withdraw`` needs nobody; safe to call again, which changes nothing."""
        found = await self._session(address)
        if found is None:
            return await self._ended(address)
        info, session = found
        if session.status is not ChainStatus.OPEN:
            return Leaving(available_at=session.deadline())
        ask = request_close(payer=session.payer, session=address, program_id=info.owner)
        signature = await self._submit([ask])
        found = await self._session(address)
        return Leaving(signature, available_at=found[1].deadline() if found else None)

    async def withdraw(self, address: Pubkey, *, waiting: Callable[[int], None] | None = None) -> Leaving:
        """Get what is not settled back, from the deadline on; a session that is gone says how it ended.

        Before the deadline NotDueError, unless ``waiting`` is given: then this waits, and calls it with the seconds
        that are left. Whoever is interrupted calls again.
        """
        while True:
            found = await self._session(address)
            if found is None:
                return await self._ended(address)
            info, session = found
            deadline, now = session.deadline(), await self.chain.block_time()
            if deadline is None or (session.status is ChainStatus.OPEN and now + session.grace_period < deadline):
                # Waiting for its expiry would take longer than asking does.
                raise SessionError(f"session {address} is open: ask for its close first (request_close)", str(address))
            if now >= deadline:
                signature = await self._submit(await self._withdrawal(info, session))
                ended = await find_settlement(self.chain, address, info.owner, deposit=session.deposit, hint=signature)
                return Leaving(signature, settlement=ended)
            if waiting is None:
                raise NotDueError(
                    f"the deposit of session {address} can be withdrawn in {deadline - now} s; the service may settle "
                    "until then",
                    str(address),
                    available_at=deadline,
                )
            waiting(deadline - now)
            # Read again from time to time: the service may settle and end the wait.
            await self.timer.sleep(min(deadline - now, _LOOK_AGAIN_SECONDS))

    async def _session(self, address: Pubkey) -> tuple[AccountInfo, SessionAccount] | None:
        info = await self.chain.account(address)
        if info is None:
            return None
        if info.owner not in self.pins.programs:
            raise PinError(f"{address} belongs to program {info.owner}, which this client does not trust")
        session = read_session(info, info.owner)
        if session.payer != self.signer.pubkey():
            raise SessionError(f"session {address} belongs to {session.payer}: only that key leaves", str(address))
        return info, session

    async def _ended(self, address: Pubkey) -> Leaving:
        for program in self.pins.programs:
            if settlement := await find_settlement(self.chain, address, program):
                return Leaving(settlement.signature, settlement=settlement)
        raise UnknownSessionError(
            f"there is no session {address} on chain, and none that has ended is known", str(address)
        )

    async def _withdrawal(self, info: AccountInfo, session: SessionAccount) -> list[Instruction]:
        mint = await self.chain.account(session.mint)
        if mint is None:
            raise SessionError(f"token {session.mint} does not exist on this chain", str(info.address))
        payer = self.signer.pubkey()
        return [
            # The payer may have closed its account meanwhile; where it exists this does nothing.
            create_ata_idempotent(funder=payer, owner=payer, mint=session.mint, token_program=mint.owner),
            withdraw(
                session=info.address,
                account=session,
                payer_token=derive_ata(payer, session.mint, mint.owner),
                token_program=mint.owner,
                program_id=info.owner,
            ),
        ]

    async def _submit(self, instructions: list[Instruction]) -> str:
        latest = await self.chain.latest_blockhash()
        transaction, _ = sign_transaction(self.signer, instructions, latest.blockhash)
        signature = await self.chain.send(transaction)
        outcome = await confirm(
            self.chain,
            signature,
            last_valid_block_height=latest.last_valid_block_height,
            clock=self.timer,
            timeout=_CONFIRMATION_SECONDS,
        )
        if outcome is ConfirmationOutcome.FAILED:
            raise TransactionRefusedError(f"transaction {signature} landed without effect")
        if outcome is not ConfirmationOutcome.LANDED:
            raise SendOutcomeUnknownError(f"transaction {signature} is {outcome}; call again to see", signature)
        return signature
