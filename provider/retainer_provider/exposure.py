"""How much is credited before no fork can take it back any more (F06)."""

from collections.abc import Mapping

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.sessions import session_account
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.session import VoucherSigner


class Exposure:
    """``commitment`` is when deposits count; ``caps`` say by offer, in base units, up to how much before finality.

    What one session could lose its provider, should its deposit vanish, is the part that is not final: the cap at most.
    """

    def __init__(
        self, *, chain: Chain, commitment: Commitment, caps: Mapping[str, int], program_id: Pubkey = PROGRAM_ID
    ) -> None:
        self._chain = chain
        self._commitment = commitment
        self._caps = caps
        self._program_id = program_id

    @property
    def commitment(self) -> Commitment:
        """When a deposit within the cap counts."""
        return self._commitment

    async def level(self, session: Pubkey, deposit: int, offer_id: str) -> Commitment:
        """When a session's deposit of so much in all counts; an offer no longer made risks nothing."""
        cap = self._caps.get(offer_id, 0)
        if self._commitment is Commitment.FINALIZED or deposit <= cap:
            return self._commitment
        final = await session_account(
            self._chain, session, program_id=self._program_id, commitment=Commitment.FINALIZED
        )
        # The program takes no voucher above the deposit: with a top-up, the voucher that covers all before it may go.
        safe = final is not None and final.voucher_signer is VoucherSigner.OPERATOR
        at_risk = deposit - (final.deposit if final is not None and safe else 0)
        return self._commitment if at_risk <= cap else Commitment.FINALIZED
