"""Doubles around what a service acts on: the books, the chain, the metered service and the client's connection."""

import inspect
from typing import Any

from msgspec.structs import replace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retainer.chain.raw import decode_signed
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.instruction_data import (
    CloseData,
    DecodedInstruction,
    OpenData,
    OpenWithTermsData,
    RequestCloseData,
    SettleData,
    TopUpData,
    WithdrawData,
    decode_instruction,
)
from retainer_provider.books.outcomes import SignedOutcome
from retainer_provider.books.records import Commit, CommitFacts, ReserveRequest, StoredAnswer
from tools.failpoints.trap import Trap

_KINDS = {
    OpenData: "open",
    OpenWithTermsData: "open",
    TopUpData: "top_up",
    RequestCloseData: "request_close",
    SettleData: "settle",
    CloseData: "close",
    WithdrawData: "withdraw",
}


class _Double:
    """Stands for its target, call by call."""

    def __init__(self, target: object, trap: Trap) -> None:
        self._target = target
        self._trap = trap

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  stands for anything
        method = getattr(self._target, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: object, **kwargs: object) -> object:
            step = self._step(name, args)
            self._trap.reach(f"{step} before")
            result = await method(*self._arguments(name, args), **kwargs)
            self._trap.reach(f"{step} after")
            return result

        return call

    def _step(self, name: str, args: tuple[object, ...]) -> str:
        raise NotImplementedError

    def _arguments(self, name: str, args: tuple[object, ...]) -> tuple[object, ...]:
        return args


class TrappedLedger(_Double):
    """The books, as they are or spoiled, which the evidence must find out.

    `forgetful` ones lose every Idempotency-Key; `amnesic` ones say that they have stored what is about to be sent.
    """

    def __init__(self, target: object, trap: Trap, *, forgetful: bool = False, amnesic: bool = False) -> None:
        super().__init__(target, trap)
        self._forgetful = forgetful
        self._amnesic = amnesic

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  stands for anything
        return self._stored if self._amnesic and name == "store_signed" else super().__getattr__(name)

    async def _stored(self, *_: object) -> SignedOutcome:
        return SignedOutcome.STORED

    def _step(self, name: str, args: tuple[object, ...]) -> str:
        return f"ledger.{name}"

    def _arguments(self, name: str, args: tuple[object, ...]) -> tuple[object, ...]:
        match args:
            case (Commit() as commit,):
                return (replace(commit, finish=self._finishing(commit)),)
            case (ReserveRequest() as request,) if self._forgetful:
                return (replace(request, key=None),)
        return args

    def _finishing(self, commit: Commit) -> Any:  # noqa: ANN401  a callback of the ledger's
        def finish(facts: CommitFacts) -> StoredAnswer:
            self._trap.reach("ledger.commit within")
            return commit.finish(facts)

        return finish


class TrappedChain(_Double):
    """The chain, whose transactions are told apart by what they ask of our program; `amnesic`, it has no past."""

    def __init__(self, target: object, trap: Trap, *, amnesic: bool = False) -> None:
        super().__init__(target, trap)
        self._amnesic = amnesic

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  stands for anything
        return self._nothing if self._amnesic and name == "signatures_for" else super().__getattr__(name)

    async def _nothing(self, *_: object, **__: object) -> list[str]:
        return []

    def _step(self, name: str, args: tuple[object, ...]) -> str:
        kind = f" {_kind(args[0])}" if name == "send" and isinstance(args[0], bytes) else ""
        return f"chain.{name}{kind}"


def trapped_upstream(app: ASGIApp, trap: Trap) -> ASGIApp:
    """The service that is metered."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        trap.reach("upstream.call before")
        await app(scope, receive, send)
        trap.reach("upstream.call after")

    return call


def trapped_front(app: ASGIApp, trap: Trap, *, spared: str) -> ASGIApp:
    """What clients talk to; paths that begin with `spared` are only for looking at the service."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(spared):
            await app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            started = message["type"] == "http.response.start"
            trap.reach("answer before" if started else "answer within")
            await send(message)

        trap.reach("request arrived")
        await app(scope, receive, sending)
        trap.reach("answer after")

    return call


def _kind(raw: bytes) -> str:
    asked = [_KINDS[type(data)] for data in _program_data(raw)]
    # What asks our program for nothing is the transfer of a custodial session.
    return asked[-1] if asked else "transfer"


def _program_data(raw: bytes) -> list[DecodedInstruction]:
    message = decode_signed(raw).message
    return [
        decode_instruction(bytes(instruction.data))
        for instruction in message.instructions
        if message.account_keys[instruction.program_id_index] == PROGRAM_ID
    ]
