"""MCP servers that are sold: a transport for the SDK's HTTP client whose requests a session pays for."""

from typing import Final

import httpx
import httpx2

from retainer.flows.answers import RECEIPT_EXTENSION, problem_of
from retainer.protocol.errors import RetainerError
from retainer.session_client import SessionClient

# The two clients make their own; what is left out describes the bytes of one hop.
_HOP: Final = frozenset({"connection", "content-encoding", "content-length", "host", "transfer-encoding"})
_PAYMENT_REQUIRED: Final = 402
# JSON-RPC's range for errors of an implementation's own.
_REFUSED: Final = -32_002


class PaidTransport(httpx2.AsyncBaseTransport):
    """For ``streamable_http_client(url, http_client=httpx2.AsyncClient(transport=PaidTransport(client)))``.

    What the client's caps forbid, and what the service refuses, reaches the caller as an MCP error with a sentence.
    Answers are read whole: for servers that answer in JSON, as a stateless one does. The client stays its owner's.
    """

    def __init__(self, client: SessionClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it and pay for it."""
        headers = [(name, value) for name, value in request.headers.multi_items() if name.lower() not in _HOP]
        try:
            answer = await self._client.request(
                request.method, str(request.url), headers=headers, content=await request.aread()
            )
        except RetainerError as error:
            return _refusal(_PAYMENT_REQUIRED, str(error))
        except httpx.TransportError as error:
            raise httpx2.TransportError(str(error), request=request) from error
        problem = problem_of(answer)
        if problem is not None:
            return _refusal(answer.status_code, f"{problem.title}: {problem.detail}")
        kept = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _HOP]
        receipt = answer.extensions.get(RECEIPT_EXTENSION)
        return httpx2.Response(
            answer.status_code,
            headers=kept,
            content=answer.content,
            extensions={} if receipt is None else {RECEIPT_EXTENSION: receipt},
        )


def _refusal(status: int, sentence: str) -> httpx2.Response:
    error = {"code": _REFUSED, "message": sentence}
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error})
