"""An upstream whose answers wait: for tests of what happens while requests run."""

import asyncio

from starlette.types import Receive, Scope, Send

_HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


class Slow:
    """Answers once it is let go; `calls` counts what it was asked."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.calls = 0
        self._called = asyncio.Condition()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        async with self._called:
            self.calls += 1
            self._called.notify_all()
        await self.go.wait()
        await send(_HEAD)
        await send({"type": "http.response.body", "body": b"at last"})

    async def asked(self, times: int = 1) -> None:
        """Come back when so many requests wait for their answer."""
        async with self._called:
            await self._called.wait_for(lambda: self.calls >= times)
