"""The payer's own exit, for when a service does not answer or cannot be believed: nobody else is needed for it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain
from retainer.chain.confirm import ConfirmationOutcome, Timer, confirm
from retainer.chain.errors import SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.sessions import read_session
from retainer.channels.channel import Settlement
from retainer.errors import PinError, SessionError, UnknownSessionError
from retainer.flows.settlements import find_settlement
from retainer.protocol.instructions import create_ata_idempotent, request_close, withdraw
from retainer.protocol.pda import derive_ata
from retainer.protocol.session import ChainStatus, SessionAccount
from retainer.trust.pins import Pins
from retainer.wallet import Signer, sign_transaction

_CONFIRMATION_SECONDS: Final = 60.0


class ReclaimStep(StrEnum):
    """How far a reclaim has come."""

    REQUESTED = "requested"
    WAITING = "waiting"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Reclaim:
    """``available_at`` (Unix seconds of the chain) is when to come back; ``settlement`` is how the session ended."""

    step: ReclaimStep
    signature: str | None = None
    available_at: int | None = None
    settlement: Settlement | None = None


async def reclaim(chain: Chain, signer: Signer, pins: Pins, address: Pubkey, *, timer: Timer) -> Reclaim:
    """Do the next step of getting a deposit back: ask to close, wait for the grace period, withdraw.

    Safe to call at any time and again; only the payer can start it.
    """
    info = await chain.account(address)
    if info is None:
        return await _ended(chain, pins, address)
    if info.owner not in pins.programs:
        raise PinError(f"{address} belongs to program {info.owner}, which this client does not trust")
    session = read_session(info, info.owner)
    if session.payer != signer.pubkey():
        raise SessionError(f"session {address} belongs to {session.payer}; only that key can reclaim it", str(address))
    deadline, now = session.deadline(), await chain.block_time()
    if deadline is not None and now >= deadline:
        signature = await _submit(chain, signer, await _withdrawal(chain, signer, info, session), timer)
        ended = await find_settlement(chain, address, info.owner, deposit=session.deposit, hint=signature)
        return Reclaim(ReclaimStep.REFUNDED, signature, settlement=ended)
    if session.status is ChainStatus.OPEN:
        ask = request_close(payer=session.payer, session=address, program_id=info.owner)
        signature = await _submit(chain, signer, [ask], timer)
        due = now + session.grace_period if deadline is None else min(deadline, now + session.grace_period)
        return Reclaim(ReclaimStep.REQUESTED, signature, available_at=due)
    return Reclaim(ReclaimStep.WAITING, available_at=deadline)


async def _ended(chain: Chain, pins: Pins, address: Pubkey) -> Reclaim:
    for program in pins.programs:
        if settlement := await find_settlement(chain, address, program):
            return Reclaim(ReclaimStep.REFUNDED, settlement.signature, settlement=settlement)
    raise UnknownSessionError(f"there is no session {address} on chain, and none that has ended is known", str(address))


async def _withdrawal(chain: Chain, signer: Signer, info: AccountInfo, session: SessionAccount) -> list[Instruction]:
    mint = await chain.account(session.mint)
    if mint is None:
        raise SessionError(f"token {session.mint} does not exist on this chain", str(info.address))
    payer = signer.pubkey()
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


async def _submit(chain: Chain, signer: Signer, instructions: list[Instruction], timer: Timer) -> str:
    latest = await chain.latest_blockhash()
    transaction, _ = sign_transaction(signer, instructions, latest.blockhash)
    signature = await chain.send(transaction)
    outcome = await confirm(
        chain,
        signature,
        last_valid_block_height=latest.last_valid_block_height,
        clock=timer,
        timeout=_CONFIRMATION_SECONDS,
    )
    if outcome is ConfirmationOutcome.FAILED:
        raise TransactionRefusedError(f"transaction {signature} landed without effect")
    if outcome is not ConfirmationOutcome.LANDED:
        raise SendOutcomeUnknownError(f"transaction {signature} is {outcome}; call again to see", signature)
    return signature
