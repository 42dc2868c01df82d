"""A node that lies, and processes that die: what settling has to survive beyond what `FakeChain` does by itself."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Commitment, SignatureStatus, SimulationResult, TransactionInfo
from retainer.chain.fake import FakeChain
from retainer.chain.raw import decode_signed, signature_of
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.instruction_data import CloseData, DecodedInstruction, decode_instruction


class Node(FakeChain):
    """A fake chain seen through a node that is honest until a switch is set."""

    def __init__(self) -> None:
        super().__init__(confirmation_lag=2, finality_lag=32)
        self.drops: Callable[[str], bool] = lambda _signature: False
        self.before_send: Callable[[str], Awaitable[None]] | None = None
        self.after_sleep: Callable[[], None] | None = None
        self.denies = False  # knows of no transaction
        self.frozen: list[AccountInfo] = []  # accounts it shows as they were
        self.hidden: set[Pubkey] = set()  # accounts it does not show at confirmed
        self.gone: set[Pubkey] = set()  # accounts it does not show at all
        self.has_batch = True

    def drop_first(self) -> None:
        """Take the next transaction and never land it, however often it comes."""
        first: list[str] = []

        def is_first(signature: str) -> bool:
            first[:] = first or [signature]
            return signature in first

        self.drops = is_first

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self.after_sleep is not None:
            self.after_sleep()

    async def send(self, raw: bytes) -> str:
        signature = signature_of(decode_signed(raw))
        if self.before_send is not None:
            await self.before_send(signature)
        if self.drops(signature):
            self.sent.append(signature)
            return signature
        return await super().send(raw)

    async def signature_status(self, signature: str, *, search_history: bool = True) -> SignatureStatus | None:
        return None if self.denies else await super().signature_status(signature, search_history=search_history)

    async def transaction(
        self, signature: str, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> TransactionInfo | None:
        return None if self.denies else await super().transaction(signature, commitment=commitment)

    async def signatures_for(self, address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        return [] if self.denies else await super().signatures_for(address, limit=limit, before=before)

    async def accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment = Commitment.CONFIRMED,
        min_slot: int | None = None,
    ) -> list[AccountInfo | None]:
        found = await super().accounts(addresses, commitment=commitment, min_slot=min_slot)
        shown = {info.address: info for info in self.frozen}
        hidden = self.gone | (self.hidden if commitment is Commitment.CONFIRMED else set())
        return [
            None if address in hidden else shown.get(address, info)
            for address, info in zip(addresses, found, strict=True)
        ]

    async def simulate(self, raw: bytes) -> SimulationResult:
        if not self.has_batch and any(isinstance(data, CloseData) and data.batch for data in program_data(raw)):
            return SimulationResult('{"InstructionError":[0,"InvalidInstructionData"]}', (), None)
        return await super().simulate(raw)

    def is_there(self, address: Pubkey) -> bool:
        """Whether the account exists in the newest slot."""
        return self._svm.read(address, self._svm.slot) is not None

    async def landed(self, signature: str) -> TransactionInfo:
        """A transaction that must have taken effect."""
        info = await self.transaction(signature, commitment=Commitment.PROCESSED)
        assert info is not None
        assert info.error is None
        return info


def program_data(raw: bytes) -> list[DecodedInstruction]:
    """The session program's instructions of a transaction."""
    message = decode_signed(raw).message
    return [
        decode_instruction(bytes(instruction.data))
        for instruction in message.instructions
        if message.account_keys[instruction.program_id_index] == PROGRAM_ID
    ]


class Killed(BaseException):
    """The process is gone: nothing it did after this happened."""


class Life:
    """A number of moments to live."""

    def __init__(self, moments: int) -> None:
        self._left = moments

    def spend(self) -> None:
        """Live one moment, or die."""
        if self._left == 0:
            raise Killed
        self._left -= 1


class Mortal:
    """Stands for its target in a process that may die before and after every call."""

    def __init__(self, target: object, life: Life) -> None:
        self._target = target
        self._life = life

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - stands for anything
        method = getattr(self._target, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: object, **kwargs: object) -> object:
            self._life.spend()
            result = await method(*args, **kwargs)
            self._life.spend()
            return result

        return call
