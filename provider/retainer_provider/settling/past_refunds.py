"""A custodial session's refund that the chain has and the books do not: they were restored from an older backup.

No program would stop a second one, so it is looked for before the first is signed, and before a session is sold to that
older books still call open.
"""

from dataclasses import dataclass
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.transfers import Transfer, find_refund
from retainer_provider.books.records import SessionRecord

_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class PastRefund:
    """What went back, in base units; ``final`` when no fork can take it back."""

    signature: str
    amount: BaseUnits
    final: bool


async def past_refund(chain: Chain, record: SessionRecord) -> PastRefund | None:
    """The newest transfer from the payee back to the payer that names the session; ChainUnavailableError.

    Only the payee's key can make one, so nobody else's transactions are ever taken for it.
    """
    back = Transfer(
        session=Pubkey.from_string(record.session_id),
        sender=record.payee,
        recipient=record.payer,
        mint=record.mint,
        decimals=record.decimals,
        token_program=record.token_program,
        amount=BaseUnits(0),  # whatever it is
    )
    before: str | None = None
    while page := await chain.signatures_for(back.session, limit=_PAGE, before=before):
        for signature in page:
            if signature == record.creation_signature:
                return None  # a refund is younger than the deposit
            info = await chain.transaction(signature)
            amount = find_refund(info.raw, back) if info is not None and info.error is None else None
            if amount is not None:
                status = await chain.signature_status(signature)
                final = status is not None and status.commitment.covers(Commitment.FINALIZED)
                return PastRefund(signature, amount, final)
        before = page[-1]
    return None
