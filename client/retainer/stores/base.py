"""What a store of sessions promises, and the rules that every one of them keeps."""

import hashlib
from collections.abc import Callable
from typing import Protocol

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.channels.scope import ChannelScope
from retainer.errors import StoreError, UnknownSessionError
from retainer.protocol.encoding import canonical_json
from retainer.protocol.fields import present
from retainer.stores.holds import Holds


class ChannelStore(Protocol):
    """Sessions by what they pay for. All methods raise StoreError where records cannot be read or written.

    A scope finds what was set under just this scope; one without a payer is a namespace that all payers share.
    """

    async def get(self, scope: ChannelScope) -> Channel | None:
        """The latest session that can pay for the scope; one that has ended is not found any more."""
        ...

    async def set(self, scope: ChannelScope, channel: Channel) -> None:
        """Keep this version; StoreError when its deposit or total is below the kept one's, or it is of another scope.

        A new session joins those that the scope has: one of them may still be closing.
        """
        ...

    async def delete(self, scope: ChannelScope) -> None:
        """Forget all sessions of the scope; nothing happens when there are none."""
        ...


class SessionStore(ChannelStore, Holds, Protocol):
    """What `SessionClient` needs besides: sessions by their address, and changes that no other write comes between.

    `Holds`, because a request that left under a stored key is asked again under it by one caller at a time, and only
    when nobody waits for it any more.

    A session that has ended stays to be looked at, until it is deleted or forgotten; it pays nothing.
    """

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        ...

    async def update(self, payer: Pubkey, session_id: str, change: Callable[[Channel], Channel]) -> Channel:
        """Apply the pure ``change`` to the newest version and keep the result; no other write comes in between.

        UnknownSessionError when there is none of this id. What ``change`` raises passes through, and nothing is kept.
        """
        ...

    async def choose(self, payer: Pubkey, choice: Callable[[list[Channel]], Channel]) -> Channel:
        """Keep what the pure ``choice`` makes of all the payer's sessions, oldest first; no other write in between.

        For what depends on all of them: whether one may be opened, and what has been spent of late. What ``choice``
        raises passes through, and nothing is kept. A new session is kept under its own, full scope.
        """
        ...

    async def forget(self, payer: Pubkey, session_id: str) -> None:
        """Delete one session; nothing happens when it is not there."""
        ...

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        ...


def entry_key(scope: ChannelScope) -> str:
    """A short text that stands for the scope, in any store and in any process.

    A digest: the parts of a scope are chosen by a service, and no choice of theirs may collide with another key.
    """
    parts = present(
        {
            "payer": None if scope.payer is None else str(scope.payer),
            "payee": str(scope.payee),
            "token": str(scope.token),
            "program": str(scope.program),
            "cluster": scope.cluster,
            "origin": scope.origin,
            "offerId": scope.offer_id,
        }
    )
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def figures(channel: Channel) -> tuple[int, int, int, int]:
    """Deposit, spent, charged and signed in base units: what never goes down."""
    return channel.deposit, channel.book.spent, channel.book.charged, channel.signed


def require_growing(kept: Channel, new: Channel) -> None:
    """StoreError when ``new`` would lower what is known to be deposited or spent."""
    if any(after < before for before, after in zip(figures(kept), figures(new), strict=True)):
        raise shrinking(new.session_id)


def require_covered(scope: ChannelScope, channel: Channel) -> None:
    """StoreError when the session cannot pay for the scope."""
    if not scope.covers(channel.scope):
        raise StoreError(f"session {channel.session_id} pays for something else than the scope it is kept under")


def shrinking(session_id: str) -> StoreError:
    """The error for a write that would lower a figure."""
    return StoreError(f"session {session_id} was changed elsewhere: its deposit or total would go down")


def unknown(session_id: str) -> UnknownSessionError:
    """The error for a session that is not there."""
    return UnknownSessionError(f"this client has no session {session_id}", session_id)
