"""Announcements are hints: a lost connection is taken up again, and what the chain does not confirm changes nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from retainer.chain.errors import ChainUnavailableError
from retainer.chain.notices import Notice
from retainer.protocol.session import SessionState
from retainer_provider.settling.announcements import Announcements
from retainer_provider.settling.watcher import ChainView, Watcher
from tests.books import DEPOSIT
from tests.nodes import Node
from tests.trading import Trade, trade_on

STRANGER = Pubkey.from_bytes(bytes([9]) * 32)


class ThroughError(Exception):
    """The node has said all that it is to say."""


@pytest.fixture
async def trade(tmp_path: Path) -> AsyncIterator[Trade]:
    async with trade_on(Node(), tmp_path / "ledger.db") as trade:
        yield trade


class Listening:
    """Listens to connections, each a list of what the node says on it; times by what it sleeps."""

    def __init__(self, trade: Trade, *connections: list[Notice | None]) -> None:
        self._connections = iter(connections)
        self._trade = trade
        self.slept: list[float] = []
        self.settled = 0

    async def through(self) -> None:
        """Return when the last connection has ended."""
        trade, view = self._trade, ChainView()
        watcher = Watcher(
            chain=trade.chain, ledger=trade.ledger, clock=trade.clock, view=view, exposure=trade.exposure()
        )
        listener = Announcements(notices=self._notices, watcher=watcher, settle=self._settle, timer=self)
        with pytest.raises(ThroughError):
            await listener.run()

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def _settle(self) -> None:
        self.settled += 1

    async def _notices(self) -> AsyncIterator[Notice | None]:
        try:
            said = next(self._connections)
        except StopIteration:
            raise ThroughError from None
        for notice in said:
            yield notice
        raise ChainUnavailableError("it broke")


async def notice_of(trade: Trade, address: str | Pubkey, *, ahead: int = 0) -> Notice:
    return Notice(Pubkey.from_string(str(address)), await trade.chain.slot() + ahead)


async def test_an_announced_top_up_and_exit_are_read_from_the_chain(trade: Trade) -> None:
    session_id = await trade.open()
    await trade.top_up(session_id, 500)
    await trade.request_close(session_id)
    listening = Listening(trade, [await notice_of(trade, session_id)])
    await listening.through()
    record = await trade.record(session_id)
    assert (record.deposit, record.state) == (DEPOSIT + 500, SessionState.CLOSING)
    assert listening.settled == 1


async def test_what_changed_while_nobody_listened_is_seen_when_somebody_does_again(trade: Trade) -> None:
    session_id = await trade.open()
    await trade.request_close(session_id)
    await Listening(trade, [], [None]).through()
    assert (await trade.record(session_id)).state is SessionState.CLOSING


async def test_an_announcement_of_what_did_not_happen_changes_nothing(trade: Trade) -> None:
    session_id = await trade.open()
    before = await trade.record(session_id)
    listening = Listening(trade, [await notice_of(trade, session_id), await notice_of(trade, STRANGER)])
    await listening.through()
    assert await trade.record(session_id) == before


async def test_a_slot_that_no_node_has_reached_is_given_up_and_the_next_one_heard(trade: Trade) -> None:
    honest, other = await trade.open(), await trade.open()
    await trade.request_close(honest)
    far = await notice_of(trade, other, ahead=1_000_000_000)
    await Listening(trade, [far, await notice_of(trade, honest)]).through()
    assert (await trade.record(honest)).state is SessionState.CLOSING
    assert (await trade.record(other)).state is SessionState.ACTIVE


async def test_an_absent_account_is_left_to_the_next_look(trade: Trade) -> None:
    """It may be gone because the service's own settlement is landing."""
    session_id = await trade.open()
    node = trade.chain
    assert isinstance(node, Node)
    node.hidden.add(Pubkey.from_string(session_id))
    await Listening(trade, [await notice_of(trade, session_id)]).through()
    assert (await trade.record(session_id)).state is SessionState.ACTIVE


async def test_a_node_that_is_down_is_asked_less_and_less(trade: Trade) -> None:
    listening = Listening(trade, *[[]] * 8, [None], [])
    await listening.through()
    assert listening.slept == [1, 2, 4, 8, 16, 32, 60, 60, 1, 2]
