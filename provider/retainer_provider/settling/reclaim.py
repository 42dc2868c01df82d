"""Returning the rent of settled sessions of vouchers.

The program keeps such a session's account, Closed and empty, until no `open` can name its address any more: else a
voucher could fit two sessions. Then anyone may remove it, and its rent goes to whoever paid it.
"""

import asyncio

import structlog
from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ForeignAccountError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.sessions import session_account
from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.instructions import withdraw
from retainer.protocol.pda import derive_ata
from retainer.protocol.session import ChainStatus, SessionAccount
from retainer.protocol.signing import Signer, signed_transaction
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord

_log = structlog.get_logger(__name__)


class Reclaimer:
    """Pays the fee as the operator; what fails is tried again by the next pass, and costs nothing."""

    def __init__(self, *, chain: Chain, ledger: Ledger, operator: Signer, program_id: Pubkey) -> None:
        self._chain = chain
        self._ledger = ledger
        self._operator = operator
        self._program_id = program_id

    async def reclaim(self) -> None:
        """One pass over the sessions whose account was left behind."""
        for record in await self._ledger.left_behind():
            address = Pubkey.from_string(record.session_id)
            try:
                account = await session_account(
                    self._chain, address, program_id=self._program_id, commitment=Commitment.FINALIZED
                )
            except ForeignAccountError as error:
                _log.error("session_account_foreign", session=record.session_id, reason=str(error))
                continue
            if account is None:
                await self._ledger.account_gone(record.session_id)
            elif account.status is ChainStatus.CLOSED:
                await self._remove(record, address, account)

    async def _remove(self, record: SessionRecord, address: Pubkey, account: SessionAccount) -> None:
        if await self._chain.slot(commitment=Commitment.CONFIRMED) <= account.open_slot + OPEN_SLOT_WINDOW:
            return
        instruction = withdraw(
            session=address,
            account=account,
            payer_token=derive_ata(account.payer, account.mint, record.token_program),
            token_program=record.token_program,
            program_id=self._program_id,
        )
        blockhash = (await self._chain.latest_blockhash()).blockhash
        transaction = await asyncio.to_thread(signed_transaction, [instruction], [self._operator], blockhash)
        try:
            await self._chain.send(bytes(transaction))
        except (SendOutcomeUnknownError, TransactionRefusedError) as error:
            _log.warning("rent_not_returned", session=record.session_id, reason=str(error))
        else:
            _log.info("rent_returned", session=record.session_id, to=str(account.rent_payer))
