"""JSON-RPC as a node speaks it: solana-py carries the requests, the answers are read here.

Not by solders: its reader of answers panics, past `except Exception`, on an error object without `data`, which nodes
and proxies send; and an older solders does not know newer nodes' fields. What is read here is only what is needed.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import httpx
import msgspec
from solana.exceptions import SolanaRpcException

from retainer.chain.errors import ChainError, ChainUnavailableError

try:
    from solana.rpc.async_http_provider import AsyncHTTPProvider
except ImportError:  # solana before 0.40
    from solana.rpc.providers.async_http import AsyncHTTPProvider  # type: ignore[import-not-found, no-redef]

_TEXT_IN_ERRORS: Final = 200
# A node that limits rates says how long to wait; one that says hours is as good as down.
_LONGEST_PAUSE: Final = 10.0
_LONG_NUMBER: Final = 10

Answer = TypeVar("Answer")


class Context(msgspec.Struct):
    """The slot an answer describes."""

    slot: int


class Account(msgspec.Struct):
    """An account; `data` is base64 and the word for it."""

    lamports: int
    owner: str
    data: tuple[str, str]


class KeyedAccount(msgspec.Struct):
    """Of getProgramAccounts."""

    pubkey: str
    account: Account


class AccountAnswer(msgspec.Struct):
    """Of getAccountInfo."""

    context: Context
    value: Account | None


class AccountsAnswer(msgspec.Struct):
    """Of getMultipleAccounts."""

    context: Context
    value: list[Account | None]


class Blockhash(msgspec.Struct, rename="camel"):
    """A blockhash and how long it can be used."""

    blockhash: str
    last_valid_block_height: int


class BlockhashAnswer(msgspec.Struct):
    """Of getLatestBlockhash."""

    context: Context
    value: Blockhash


class Status(msgspec.Struct, rename="camel"):
    """A transaction's status; old nodes name no commitment once it is rooted."""

    slot: int
    err: Any
    confirmation_status: str | None = None
    confirmations: int | None = None


class StatusesAnswer(msgspec.Struct):
    """Of getSignatureStatuses."""

    value: list[Status | None]


class Meta(msgspec.Struct, rename="camel"):
    """What came of a transaction."""

    err: Any
    fee: int
    log_messages: list[str] | None = None
    compute_units_consumed: int | None = None


class TransactionAnswer(msgspec.Struct, rename="camel"):
    """Of getTransaction, in base64."""

    slot: int
    transaction: tuple[str, str]
    meta: Meta
    block_time: int | None = None


class PriorityFeeAnswer(msgspec.Struct, rename="camel"):
    """Of getRecentPrioritizationFees."""

    prioritization_fee: int


class SignatureAnswer(msgspec.Struct):
    """Of getSignaturesForAddress."""

    signature: str


class Simulation(msgspec.Struct, rename="camel"):
    """What would come of a transaction; also sent along with a refusal."""

    err: Any
    logs: list[str] | None = None
    units_consumed: int | None = None


class SimulationAnswer(msgspec.Struct):
    """Of simulateTransaction."""

    value: Simulation


class RpcError(msgspec.Struct):
    """A JSON-RPC error object."""

    code: int
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class RpcRefusalError(Exception):
    """The node understood the request and answered with an error object. Stays inside this package."""

    def __init__(self, error: RpcError) -> None:
        super().__init__(f"{error.message} (RPC error {error.code})")
        self.error = error


class _BusyError(ChainUnavailableError):
    """The node asked to be left alone for some seconds (HTTP 429 or 503 with Retry-After)."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class _Envelope(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: RpcError | None = None


class Wire:
    """A node at `url`. Each try may take `timeout` seconds in all, however slowly the answer drips in.

    `pauses` are the seconds to wait before each further try, stretched by up to half to spread out callers.
    """

    def __init__(self, url: str, *, timeout: float, pauses: Sequence[float]) -> None:
        self.name = _public_part(url)
        self._timeout = timeout
        self._pauses = tuple(pauses)
        self._transport = AsyncHTTPProvider(url, timeout=timeout)

    async def ask(self, request: Any, answer: type[Answer]) -> Answer:  # noqa: ANN401  solders' requests share no type
        """The node's answer to one of solders' requests. Asking twice must be harmless.

        ChainUnavailableError when no try brought a usable answer; RpcRefusalError for an error object.
        """
        for pause in self._pauses:
            try:
                return await self._ask_once(request, answer)
            except ChainUnavailableError as error:
                asked = error.seconds if isinstance(error, _BusyError) else 0.0
                spread = 1 + random.random() / 2  # noqa: S311  jitter, not a secret
                await asyncio.sleep(max(pause, asked) * spread)
        return await self._ask_once(request, answer)

    async def _ask_once(self, request: Any, answer: type[Answer]) -> Answer:  # noqa: ANN401
        name = type(request).__name__
        try:
            async with asyncio.timeout(self._timeout):
                text = await self._transport.make_request_unparsed(request)
        except TimeoutError:
            raise ChainUnavailableError(f"{self.name} did not answer {name} in {self._timeout:g} s") from None
        except (SolanaRpcException, httpx.HTTPError) as error:
            # Not chained: the transport's errors hold the whole URL.
            raise _unanswered(f"{self.name} did not answer {name}", error) from None
        try:
            envelope = msgspec.json.decode(text, type=_Envelope)
            if envelope.error is not None:
                raise RpcRefusalError(envelope.error)
            return msgspec.json.decode(envelope.result, type=answer)
        except msgspec.DecodeError as error:
            raise ChainUnavailableError(
                f"{self.name} answered {name} with something else ({error}): {text:.{_TEXT_IN_ERRORS}}"
            ) from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.close()


def _public_part(url: str) -> str:
    """Scheme, host and port: path, query and user often hold a key, and errors end up in logs (F27)."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ChainError("the RPC URL must look like https://host or http://127.0.0.1:8899")
    return f"{parsed.scheme}://{parsed.netloc.decode()}"


def _unanswered(what: str, error: Exception) -> ChainUnavailableError:
    cause = error.__cause__ or error
    answered = getattr(cause, "response", None)
    if answered is None:
        return ChainUnavailableError(f"{what}: {cause!s:.{_TEXT_IN_ERRORS}}")
    said = f"{what}: HTTP status {answered.status_code}"
    # A date is allowed as well, and is worth less than its parsing: both clocks would have to be right.
    seconds = answered.headers.get("retry-after", "")
    if seconds.isascii() and seconds.isdigit() and len(seconds) < _LONG_NUMBER:
        return _BusyError(said, min(float(seconds), _LONGEST_PAUSE))
    return ChainUnavailableError(said)
