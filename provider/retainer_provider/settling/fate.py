"""What became of a transfer, for those whom no program protects from paying twice: only proof counts as an end."""

from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.confirm import ConfirmationOutcome, look_up
from retainer.protocol.constants import TRANSACTION_LIFE

# Past a transaction's last valid height the finalized chain must be by this much: about a minute, in which a node that
# is a little behind another one catches up.
_MARGIN_BLOCKS: Final = TRANSACTION_LIFE
# "Not found" proves nothing once nodes may have thrown the time in question away: they keep at least a day.
_MEMORY_BLOCKS: Final = 150_000
_PAGE: Final = 100
_MAX_PAGES: Final = 10


async def incoming_fate(chain: Chain, signature: str, last_valid_block_height: int) -> ConfirmationOutcome:
    """LANDED or FAILED for good, EXPIRED when it can never land, else UNKNOWN; ChainUnavailableError."""
    outcome = await look_up(chain, signature, Commitment.FINALIZED, last_valid_block_height + _MARGIN_BLOCKS)
    if outcome is ConfirmationOutcome.EXPIRED:
        height = await chain.block_height(commitment=Commitment.FINALIZED)
        if height > last_valid_block_height + _MEMORY_BLOCKS:
            return ConfirmationOutcome.UNKNOWN
    return outcome


async def refund_fate(
    chain: Chain, signature: str, last_valid_block_height: int, *, session: Pubkey, deposit_signature: str | None
) -> ConfirmationOutcome:
    """The same of a refund, for which EXPIRED allows a second one to be signed.

    The node's own history of the session has to bear it out: it must reach back to the deposit, which is older than
    any refund, and hold no such signature in between. A node that forgot, or never knew, proves nothing.
    """
    outcome = await look_up(chain, signature, Commitment.FINALIZED, last_valid_block_height + _MARGIN_BLOCKS)
    if outcome is not ConfirmationOutcome.EXPIRED:
        return outcome
    seen = await _since(chain, session, deposit_signature)
    return ConfirmationOutcome.UNKNOWN if seen is None or signature in seen else outcome


async def _since(chain: Chain, session: Pubkey, deposit_signature: str | None) -> set[str] | None:
    """Signatures that name the session, back to its deposit; None when the node's history does not reach there."""
    seen = set[str]()
    before: str | None = None
    for _ in range(_MAX_PAGES):
        page = await chain.signatures_for(session, limit=_PAGE, before=before)
        seen.update(page)
        if deposit_signature in page:
            return seen
        if len(page) < _PAGE:
            return None
        before = page[-1]
    return None
