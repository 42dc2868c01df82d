"""Sign, send, wait: for callers that hold all the keys and want an error unless it worked."""

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.transaction import Transaction

from retainer.chain.base import Chain, Commitment, program_error
from retainer.chain.confirm import ConfirmationOutcome, Timer, confirm
from retainer.chain.errors import SendOutcomeUnknownError, TransactionRefusedError


async def submit(
    chain: Chain,
    instructions: Sequence[Instruction],
    signers: Sequence[Keypair],
    *,
    commitment: Commitment = Commitment.CONFIRMED,
    clock: Timer | None = None,
) -> str:
    """Land one transaction, paid for by the first of `signers`, and return its signature.

    TransactionRefusedError when it was refused or landed without effect; SendOutcomeUnknownError when it may still
    land: then look the signature up before doing it again.
    """
    latest = await chain.latest_blockhash()
    message = Message.new_with_blockhash(instructions, signers[0].pubkey(), latest.blockhash)
    signature = await chain.send(bytes(Transaction(signers, message, latest.blockhash)))
    outcome = await confirm(
        chain,
        signature,
        commitment=commitment,
        last_valid_block_height=latest.last_valid_block_height,
        clock=clock,
    )
    if outcome is ConfirmationOutcome.FAILED:
        landed = await chain.transaction(signature)
        error = (landed.error if landed else None) or "it landed without effect"
        raise TransactionRefusedError(error, program_error=program_error(error), logs=landed.logs if landed else ())
    if outcome is not ConfirmationOutcome.LANDED:
        raise SendOutcomeUnknownError(f"transaction {signature} is {outcome} after waiting for it", signature)
    return signature
