"""A session's events as server-sent events, as they happen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from retainer.protocol.encoding import canonical_json
from retainer_provider.activity.log import events_after
from retainer_provider.books.steps import Bell, Books, heard

_POLL_SECONDS: Final = 1.0
_ALIVE_SECONDS: Final = 15.0


async def follow(
    books: Books,
    bell: Bell,
    session_id: str,
    after: int,
    *,
    ended: asyncio.Event,
    lasts: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    """What happens after this number, until `ended` or while the reader's right to it `lasts`; comments in silence.

    A ring that is lost costs a second.
    """
    loop = asyncio.get_running_loop()
    silent_since = loop.time()
    yield b": welcome\n\n"
    while not ended.is_set() and await lasts():
        ring = bell.next()
        found = await events_after(books, session_id, after)
        for one in found:
            after = one.number
            data = canonical_json(one.to_json()).decode()
            yield f"id: {one.number}\nevent: {one.event.kind}\ndata: {data}\n\n".encode()
        if found:
            silent_since = loop.time()
            continue
        if loop.time() - silent_since >= _ALIVE_SECONDS:
            silent_since = loop.time()
            yield b": alive\n\n"
        await heard(ring, _POLL_SECONDS)
