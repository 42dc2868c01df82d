"""Closing sessions: ask, wait, and believe only the transaction that removed the session from the chain."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx

from retainer.channels.accounting import check_receipt, check_settlement
from retainer.channels.book import BookError
from retainer.channels.channel import Channel, Settlement
from retainer.channels.views import view_of
from retainer.errors import CloseRefusedError, CloseUnconfirmedError, SettlementError
from retainer.flows.answers import pause_asked, problem_of, receipt_of, words_of
from retainer.flows.holding import holding_of
from retainer.flows.lifecycle import ask_until
from retainer.flows.setup import Setup
from retainer.protocol.amounts import BaseUnits, format_amount
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import SessionState
from retainer.protocol.views import SessionView

_CLOSING_SECONDS: Final = 120.0
_BUSY: Final = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class CloseResult:
    """What closing came to, as the chain has it; amounts in base units, ``signature`` is the settling transaction.

    It is empty where a provider held the money itself and nothing was left to send back.
    """

    session_id: str
    settled: BaseUnits
    refunded: BaseUnits
    signature: str
    view: SessionView

    def __str__(self) -> str:
        """In the token's units, for people."""
        settled, refunded = (format_amount(units, self.view.token.decimals) for units in (self.settled, self.refunded))
        transaction = f"transaction {self.signature}" if self.signature else "nothing was left to send back"
        return f"settled {settled} · refunded {refunded} · {transaction}"


class Closer:
    """Closes sessions and checks what was paid."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    async def close(self, session_id: str) -> CloseResult:
        """Ask the service to settle and refund, and return what the chain shows. Asking again is safe.

        CloseRefusedError: it does not; CloseUnconfirmedError: not yet; SettlementError: it took what it had not earned.
        """
        channel = await self._setup.channel(session_id)
        if channel.settlement is None:
            await self._require_opened(channel)
            channel = await self._setup.update(session_id, Channel.closing)
            settlement = await self._find(channel, await self._ask(channel))
            channel = await self._setup.update(session_id, lambda kept: kept.settled(settlement, at=self._setup.now()))
            await self._require_earned(channel, settlement)
        else:
            settlement = channel.settlement
        view = view_of(channel, None, self._setup.now())
        return CloseResult(session_id, settlement.settled, settlement.refunded, settlement.signature, view)

    async def _require_opened(self, channel: Channel) -> None:
        if channel.state is SessionState.ABANDONED and not await holding_of(self._setup.chain, channel).arrived():
            raise CloseRefusedError(
                f"session {channel.session_id} was never opened: there is nothing to close", channel.session_id
            )

    async def _ask(self, channel: Channel) -> Receipt | None:
        """Repeat the close until the service has settled; its receipt, where it gives one that can be right."""
        response = await ask_until(
            self._setup, channel.offer, channel.close_header(), undecided=_undecided, seconds=_CLOSING_SECONDS
        )
        if response is None:
            raise CloseUnconfirmedError(
                f"the service has not settled session {channel.session_id} yet; close it again to go on waiting. "
                f"Should it never answer, {_way_out(channel)}",
                channel.session_id,
            )
        if response.is_success:
            return self._receipt(channel, response)
        await self._require_gone(channel, response)
        return None

    def _receipt(self, channel: Channel, response: httpx.Response) -> Receipt | None:
        # Only a pointer to the transaction: a receipt that cannot be right is no reason not to look at the chain.
        try:
            receipt = receipt_of(response)
            if receipt is not None:
                check_receipt(channel, receipt)
        except (BookError, MessageError):
            return None
        return receipt

    async def _require_gone(self, channel: Channel, response: httpx.Response) -> None:
        problem = problem_of(response)
        kind = problem.type if problem else None
        if kind is ProblemType.SESSION_CLOSED:
            return
        if kind is ProblemType.SESSION_UNKNOWN and await holding_of(self._setup.chain, channel).account() is None:
            return
        raise CloseRefusedError(
            f"the service does not close session {channel.session_id}: {words_of(response)}. "
            f"{_way_out(channel).capitalize()}",
            channel.session_id,
            problem,
        )

    async def _require_earned(self, channel: Channel, settlement: Settlement) -> None:
        try:
            check_settlement(channel, settlement)
        except BookError as error:
            paid = format_amount(settlement.settled, channel.offer.request.decimals)
            reason = f"transaction {settlement.signature} settled session {channel.session_id} with {paid}: {error}"
            await self._setup.update(channel.session_id, lambda kept: kept.disputed(reason))
            raise SettlementError(f"{reason}. The last receipt is your evidence", channel.session_id) from None

    async def _find(self, channel: Channel, receipt: Receipt | None) -> Settlement:
        """The settling transaction, waiting for the caller's node to see what the service's node has seen."""
        timer, holding = self._setup.timer, holding_of(self._setup.chain, channel)
        give_up_at = timer.monotonic() + _CLOSING_SECONDS
        while True:
            found = await holding.ended(receipt)
            if found is not None:
                return found
            pause = pause_asked(None)
            if timer.monotonic() + pause > give_up_at:
                raise CloseUnconfirmedError(
                    f"the service calls session {channel.session_id} closed, and your RPC knows of no settlement; "
                    "close it again to look once more; "
                    f"{_way_out(channel)}",
                    channel.session_id,
                )
            await timer.sleep(pause)


def _undecided(response: httpx.Response) -> bool:
    return response.is_server_error or response.status_code in _BUSY


def _way_out(channel: Channel) -> str:
    if channel.offer.request.anchor_on_chain:
        return "the deposit can be withdrawn without it (request_close, withdraw)"
    return "it holds the deposit itself, and the last receipt, which it has signed, is your evidence"
