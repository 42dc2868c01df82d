"""What the payer's sessions may cost within a day, as the store has it: what spending caps count, in any process."""

from collections.abc import Callable, Iterable
from typing import Final

from retainer.channels.channel import Channel
from retainer.channels.spending import HOUR
from retainer.errors import CapError
from retainer.flows.holding import holding_of
from retainer.flows.setup import Setup
from retainer.protocol.session import SessionState
from retainer.trust.caps import Exposure

_OVER: Final = frozenset({SessionState.REFUNDED, SessionState.ABANDONED})


def exposures(channels: Iterable[Channel], now: int) -> list[Exposure]:
    """Of each session: its deposit while it is open, and what was settled once it has ended."""
    return [
        Exposure(
            channel.offer.request.currency,
            channel.scope.origin,
            channel.settlement.settled if channel.settlement else channel.most,
            channel.spent_by,
        )
        for channel in channels
        if not _came_to_nothing(channel, now)
    ]


async def require_room(setup: Setup, require: Callable[[list[Exposure]], None]) -> None:
    """CapError where ``require`` raises it over all of the payer's sessions.

    Not before the chain has been asked which of them have ended meanwhile without this client: closed by the service's
    sweeper, or from another machine.
    """
    try:
        return require(exposures(await setup.store.channels(setup.payer), setup.now()))
    except CapError:
        if setup.caps.per_day is None and setup.caps.per_origin is None:
            raise
    for channel in await setup.store.channels(setup.payer):
        if channel.state not in _OVER and await holding_of(setup.chain, channel).account() is None:
            await learn_end(setup, channel)
    return require(exposures(await setup.store.channels(setup.payer), setup.now()))


async def learn_end(setup: Setup, channel: Channel) -> Channel:
    """A session that the chain has not, or no more: as it ended, if the transaction that ended it is found."""
    ended = await holding_of(setup.chain, channel).ended()
    if ended is None:
        return channel
    return await setup.update(channel.session_id, lambda kept: kept.settled(ended, at=setup.now()))


def _came_to_nothing(channel: Channel, now: int) -> bool:
    # An opening that was refused could still land while the slot that it was signed for is recent: some minutes.
    return channel.state is SessionState.ABANDONED and now - channel.created_at >= HOUR
