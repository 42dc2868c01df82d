"""The client for synchronous programs: the same calls, each waited for."""

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from retainer.auth import SessionAuth
from retainer.bridge import Bridge
from retainer.flows.closer import CloseResult
from retainer.flows.leaving import Leaving
from retainer.flows.offers import Offer
from retainer.flows.opener import Submit
from retainer.flows.streams import MeteredBody
from retainer.protocol.receipts import Receipt
from retainer.protocol.signing import Signer
from retainer.protocol.views import SessionView
from retainer.session_client import SessionClient
from retainer.trust.caps import Amount

T = TypeVar("T")


class SyncSessionAuth(httpx.Auth):
    """Pays for the requests of an ``httpx.Client``; get one from ``SyncSessionClient.auth``."""

    requires_request_body = True

    def __init__(self, auth: SessionAuth, bridge: Bridge) -> None:
        self._auth = auth
        self._bridge = bridge

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The asynchronous flow, step by step: what it waits for happens on the bridge, the sending here."""
        flow = self._auth.async_auth_flow(request)
        try:
            outgoing = self._bridge.run(_step(flow.__anext__()))
            while outgoing is not None:
                response = yield outgoing
                if response.is_error:  # the flow looks into these, and cannot read what arrives in this thread
                    response.read()
                outgoing = self._bridge.run(_step(flow.asend(response)))
                if isinstance(response.stream, MeteredBody):
                    response.stream.wait = self._bridge.run
        finally:
            self._bridge.run(_closed(flow.aclose()))


class SyncSessionClient:
    """`SessionClient` for programs without an event loop; a context manager.

    Takes what `SessionClient` takes and does what it does. Any thread may call it; what it does happens in a thread of
    its own, so a ``store`` or ``chain`` that is passed in belongs to this client alone.
    """

    def __init__(self, signer: Signer, **options: Any) -> None:  # noqa: ANN401  those of SessionClient
        self._bridge = Bridge()
        try:
            self._client = self._bridge.run(_made(signer, options))
        except BaseException:
            self._bridge.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections. Open sessions stay open: close them first, or they wait for the service to."""
        self._wait(self._client.aclose())
        self._bridge.close()

    @property
    def auth(self) -> SyncSessionAuth:
        """For ``httpx.Client(auth=client.auth)``: pays 402s within ``caps``, with sessions of this client."""
        return SyncSessionAuth(self._client.auth, self._bridge)

    def offers(self, url: str, *, method: str = "GET") -> list[Offer]:
        """See `SessionClient.offers`."""
        return self._wait(self._client.offers(url, method=method))

    def create_session(
        self, offer: Offer | str, deposit_amount: Amount, *, submit: Submit = Submit.PROVIDER
    ) -> SessionView:
        """See `SessionClient.create_session`."""
        return self._wait(self._client.create_session(offer, deposit_amount, submit=submit))

    def top_up(self, session_id: str, amount: Amount) -> SessionView:
        """See `SessionClient.top_up`."""
        return self._wait(self._client.top_up(session_id, amount))

    def get_session(self, session_id: str) -> SessionView:
        """See `SessionClient.get_session`."""
        return self._wait(self._client.get_session(session_id))

    def receipt(self, session_id: str) -> Receipt | None:
        """See `SessionClient.receipt`."""
        return self._wait(self._client.receipt(session_id))

    def sessions(self) -> list[SessionView]:
        """See `SessionClient.sessions`."""
        return self._wait(self._client.sessions())

    def request(self, method: str, url: str, **parameters: Any) -> httpx.Response:  # noqa: ANN401
        """See `SessionClient.request`."""
        return self._wait(self._client.request(method, url, **parameters))

    def close_session(self, session_id: str) -> CloseResult:
        """See `SessionClient.close_session`."""
        return self._wait(self._client.close_session(session_id))

    def request_close(self, session_id: str) -> Leaving:
        """See `SessionClient.request_close`."""
        return self._wait(self._client.request_close(session_id))

    def withdraw(self, session_id: str, *, waiting: Callable[[int], None] | None = None) -> Leaving:
        """See `SessionClient.withdraw`."""
        return self._wait(self._client.withdraw(session_id, waiting=waiting))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._bridge.run(coroutine)


async def _made(signer: Signer, options: dict[str, Any]) -> SessionClient:
    # On the loop that it will live on: connections belong to the loop that they were made on.
    return SessionClient(signer, **options)


async def _step(sent: Coroutine[Any, Any, httpx.Request]) -> httpx.Request | None:
    try:
        return await sent
    except StopAsyncIteration:
        return None


async def _closed(closing: Coroutine[Any, Any, None]) -> None:
    await closing
