"""Looking on chain for custodial sessions that the books lost: the transfers of the payee's token accounts."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment, TransactionInfo
from retainer.chain.confirm import Timer
from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import TRANSACTION_LIFE
from retainer.protocol.pda import derive_ata
from retainer.protocol.receipts import Receipt, verify_receipt
from retainer.protocol.transfers import Transfer, find_deposit, find_refund
from retainer_provider.offers import Offer
from retainer_provider.settling.held_recovery import Deposit, Held, HeldRecovery, recover_held

_PAGE: Final = 100
# As for any other refund: past its last valid height the finalized chain must be by this much.
_MARGIN_BLOCKS: Final = TRANSACTION_LIFE
_POLL_SECONDS: Final = 1.0
_TELL_EVERY: Final = 50  # transactions, or blocks

Progress = Callable[[int], None]
"""Told now and then how many transactions were read."""


class HeldSearch:
    """Sessions of ``offers``, which are custodial, whose money ``payee`` holds and ``operator`` signed receipts for."""

    def __init__(self, *, chain: Chain, payee: Pubkey, operator: Pubkey, offers: Sequence[Offer]) -> None:
        self._chain = chain
        self._payee = payee
        self._operator = operator
        # Offers of one token share its account; which of them a session belonged to, only the lost books knew.
        self._offers = {offer.mint: offer for offer in reversed(offers)}

    async def sessions(self, receipts: Sequence[Receipt], progress: Progress) -> list[HeldRecovery]:
        """Every session with a deposit in the final history of the payee's token accounts, judged; oldest last.

        ChainUnavailableError where the node does not answer. A node that forgot a deposit does not show its session.
        """
        found: dict[Pubkey, Offer] = {}
        read = 0
        for offer in self._offers.values():
            async for info in self._landed(derive_ata(self._payee, offer.mint, offer.token_program)):
                read += 1
                if read % _TELL_EVERY == 0:
                    progress(read)
                deposit = self._deposit(info, offer)
                if deposit is not None:
                    found.setdefault(deposit.session, offer)
        return [await self.session(address, offer, receipts) for address, offer in found.items()]

    async def session(self, address: Pubkey, offer: Offer, receipts: Sequence[Receipt]) -> HeldRecovery:
        """One of them, by all transfers that name it."""
        history = [info async for info in self._landed(address)]
        history.reverse()
        deposits = [(info, found) for info in history if (found := self._deposit(info, offer)) is not None]
        if not deposits:
            raise ChainUnavailableError(f"the node forgot what names {address}: ask one with history")
        # Whoever opens a session is the first to name it: later ones may name any address.
        payer = deposits[0][1].sender
        own = [
            Deposit(info.signature, found.amount, info.block_time or 0)
            for info, found in deposits
            if found.sender == payer
        ]
        back = replace(deposits[0][1], sender=self._payee, recipient=payer)
        refunds = [(info, amount) for info in history if (amount := find_refund(info.raw, back)) is not None]
        after = {info.signature for info in history[history.index(refunds[0][0]) :]} if refunds else set()
        held = Held(
            session=address,
            offer=offer,
            payer=payer,
            deposits=tuple(own),
            refunded=BaseUnits(sum(amount for _, amount in refunds)),
            late=BaseUnits(sum(one.amount for one in own if one.signature in after)),
        )
        return recover_held(held, [one for one in receipts if self.is_of(one, address)])

    def is_of(self, receipt: Receipt, session: Pubkey) -> bool:
        """Whether it is the operator's own word about this session."""
        return receipt.reference == session and verify_receipt(receipt, self._operator)

    def _deposit(self, info: TransactionInfo, offer: Offer) -> Transfer | None:
        return find_deposit(
            info.raw,
            payee=self._payee,
            mint=offer.mint,
            decimals=offer.decimals,
            token_program=offer.token_program,
        )

    async def _landed(self, address: Pubkey) -> AsyncIterator[TransactionInfo]:
        """Final transactions that name the address and took effect, newest first."""
        before: str | None = None
        while page := await self._chain.signatures_for(address, limit=_PAGE, before=before):
            for signature in page:
                info = await self._chain.transaction(signature, commitment=Commitment.FINALIZED)
                if info is not None and info.error is None:
                    yield info
            before = page[-1]


async def outlive_lost_refunds(chain: Chain, timer: Timer, progress: Progress) -> None:
    """Wait until no refund that the lost books may have signed can land any more; ``progress`` hears of blocks to go.

    Another one would pay a second time, and no program would stop it. Whatever was signed before now is final, and so
    in the history, or dead.
    """
    end = await chain.block_height(commitment=Commitment.CONFIRMED) + TRANSACTION_LIFE + _MARGIN_BLOCKS
    told: int | None = None
    while (left := end - await chain.block_height(commitment=Commitment.FINALIZED)) >= 0:
        if told is None or told - left >= _TELL_EVERY:
            told = left
            progress(left)
        await timer.sleep(_POLL_SECONDS)


def known_receipts(receipts: Collection[Receipt], found: Sequence[HeldRecovery], search: HeldSearch) -> int:
    """How many of the receipts are the operator's own word about a session that was found."""
    sessions = {one.session for one in found}
    return sum(one.reference in sessions and search.is_of(one, one.reference) for one in receipts)
