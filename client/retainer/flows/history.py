"""What the payer has deposited of late, as the store has it: what spending caps count, in whichever process it was."""

from collections.abc import Iterable

from retainer.channels.channel import Channel
from retainer.trust.caps import Deposited


def history(channels: Iterable[Channel]) -> list[Deposited]:
    """Each deposit signed for these sessions; one that came to nothing counts, since it could have landed."""
    return [
        Deposited(at, channel.offer.request.currency, amount, channel.scope.origin)
        for channel in channels
        for at, amount in channel.deposits
    ]
