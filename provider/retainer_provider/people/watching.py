"""Finding deposits whose tab was closed: invoices are looked at until their deposit came, or cannot come any more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog
from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain, Commitment
from retainer.chain.confirm import Timer
from retainer.chain.errors import ChainUnavailableError, ForeignAccountError
from retainer.chain.sessions import read_session
from retainer.protocol.session import ChainStatus
from retainer_provider.books.ledger import Ledger, LedgerError
from retainer_provider.books.people import Invoice, InvoiceKind
from retainer_provider.clock import Clock
from retainer_provider.people.invoices import InvoiceDesk

_log = structlog.get_logger(__name__)

_PASS_SECONDS: Final = 2.0
# A transaction is dead a minute or two after its blockhash was handed out; what landed meanwhile is found by then,
# unless this service was down. So every pass looks at the young, and a few passes an hour at all of a day.
_YOUNG_SECONDS: Final = 180
_REMEMBERED_SECONDS: Final = 86_400
_PASSES_BETWEEN_ALL: Final = 150
_AT_ONCE: Final = 1_000
_PAGE: Final = 100  # what one call for many accounts may ask for


class InvoiceWatch:
    """One pass over what is undecided, again and again."""

    def __init__(self, *, desk: InvoiceDesk, chain: Chain, ledger: Ledger, clock: Clock, timer: Timer) -> None:
        self._desk = desk
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._timer = timer
        self._passes = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look in the background of the block."""
        task = asyncio.create_task(self._repeat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self) -> None:
        """One pass; the first one, after a start, is over a whole day."""
        now, people = self._clock.now(), self._ledger.people
        everything = self._passes % _PASSES_BETWEEN_ALL == 0
        if everything:
            await people.forget_invoices(now - _REMEMBERED_SECONDS, now - _YOUNG_SECONDS)
            await people.forget_free(now // _REMEMBERED_SECONDS)
        undecided = await people.undecided(now - _REMEMBERED_SECONDS, limit=_AT_ONCE)
        due = [invoice for invoice in undecided if everything or now < invoice.expires_at + _YOUNG_SECONDS]
        for invoice in await self._arriving(due):
            await self._desk.look(invoice)
        self._passes += 1

    async def _arriving(self, invoices: Sequence[Invoice]) -> list[Invoice]:
        """Those worth a closer look, found by few calls however many invoices nobody means to pay."""
        named = [invoice for invoice in invoices if invoice.session_id is not None]
        arriving = []
        for first in range(0, len(named), _PAGE):
            page = named[first : first + _PAGE]
            addresses = [Pubkey.from_string(invoice.session_id or "") for invoice in page]
            found = await self._chain.accounts(addresses, commitment=Commitment.PROCESSED)
            arriving += [invoice for invoice, info in zip(page, found, strict=True) if _moved(invoice, info)]
        return arriving

    async def _repeat(self) -> None:
        while True:
            try:
                await self.look()
            except ChainUnavailableError as error:
                _log.warning("chain_unavailable", reason=str(error))
            except LedgerError as error:
                _log.error("ledger_interrupted", reason=str(error))
            except Exception:  # noqa: BLE001 - one bad pass must not end all later ones
                _log.exception("invoice_watch_failed")
            await self._timer.sleep(_PASS_SECONDS)


def _moved(invoice: Invoice, info: AccountInfo | None) -> bool:
    """Whether what is at a session's address differs from when its invoice was made."""
    if invoice.kind is InvoiceKind.OPEN or info is None:
        return (info is None) == (invoice.kind is InvoiceKind.TOPUP)
    try:
        account = read_session(info, info.owner)  # whose it is, the closer look judges
    except ForeignAccountError:
        return True
    return account.status is not ChainStatus.OPEN or account.deposit != invoice.deposit_before
