"""What a store of sessions promises, and the rules that every one of them keeps."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.errors import StoreError, UnknownSessionError
from retainer.flows.offers import Scope
from retainer.protocol.encoding import canonical_json


class ChannelStore(Protocol):
    """Sessions, namespaced by payer. One that has ended stays to be looked at, until it is deleted; it pays nothing.

    Every method raises StoreError where the records cannot be read or written.
    """

    async def get(self, payer: Pubkey, scope: Scope) -> Channel | None:
        """The latest usable session for the scope."""
        ...

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        ...

    async def set(self, channel: Channel) -> None:
        """Keep this version; StoreError when its deposit or total is below the kept one's."""
        ...

    async def update(self, payer: Pubkey, session_id: str, change: Callable[[Channel], Channel]) -> Channel:
        """Apply the pure ``change`` to the newest version and keep the result; no other write comes in between.

        UnknownSessionError when there is none of this id. What ``change`` raises passes through, and nothing is kept.
        """
        ...

    async def choose(self, payer: Pubkey, choice: Callable[[list[Channel]], Channel]) -> Channel:
        """Keep what the pure ``choice`` makes of all the payer's sessions, oldest first; no other write in between.

        For what depends on all of them: whether one may be opened, and what has been deposited of late. What ``choice``
        raises passes through, and nothing is kept.
        """
        ...

    async def delete(self, payer: Pubkey, session_id: str) -> None:
        """Forget a session; nothing happens when it is not there."""
        ...

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        ...


def entry_key(payer: Pubkey, scope: Scope) -> str:
    """A short text that names payer and scope in any key-value store.

    A digest: the parts of a scope are chosen by a service, and no choice of theirs may collide with another key.
    """
    parts = canonical_json(
        {
            "payer": str(payer),
            "payee": str(scope.payee),
            "token": str(scope.token),
            "program": str(scope.program),
            "cluster": scope.cluster,
            "origin": scope.origin,
            "offerId": scope.offer_id,
        }
    )
    return hashlib.sha256(parts).hexdigest()


def figures(channel: Channel) -> tuple[int, int, int, int]:
    """Deposit, spent, charged and signed in base units: what never goes down."""
    return channel.deposit, channel.book.spent, channel.book.charged, channel.signed


def require_growing(kept: Channel, new: Channel) -> None:
    """StoreError when ``new`` would lower what is known to be deposited or spent."""
    if any(after < before for before, after in zip(figures(kept), figures(new), strict=True)):
        raise shrinking(new.session_id)


def shrinking(session_id: str) -> StoreError:
    """The error for a write that would lower a figure."""
    return StoreError(f"session {session_id} was changed elsewhere: its deposit or total would go down")


def unknown(session_id: str) -> UnknownSessionError:
    """The error for a session that is not there."""
    return UnknownSessionError(f"this client has no session {session_id}", session_id)


def latest_usable(channels: Iterable[Channel], scope: Scope) -> Channel | None:
    """Of sessions in the order of their opening, the last that can pay for the scope."""
    fitting = [channel for channel in channels if channel.usable and channel.scope == scope]
    return fitting[-1] if fitting else None
