"""A chain behind a node's JSON-RPC.

Everything is asked over HTTP. Announcements over a websocket (`notices`) only say when to ask: they are lost without a
trace when a connection breaks, and a local validator announces "finalized" 31 slots before it is so.
"""

import base64
import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import msgspec
from solders.account_decoder import UiAccountEncoding
from solders.commitment_config import CommitmentLevel
from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey
from solders.rpc import config, requests
from solders.rpc.filter import Memcmp
from solders.signature import Signature
from solders.transaction_status import UiTransactionEncoding

from retainer.chain import wire
from retainer.chain.base import (
    AccountInfo,
    Commitment,
    LatestBlockhash,
    SignatureStatus,
    SimulationResult,
    TransactionInfo,
    program_error,
)
from retainer.chain.errors import ChainUnavailableError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.raw import decode_signed, signature_of
from retainer.protocol.constants import CLOCK_SYSVAR_ID

_LEVELS: Final = {
    Commitment.PROCESSED: CommitmentLevel.Processed,
    Commitment.CONFIRMED: CommitmentLevel.Confirmed,
    Commitment.FINALIZED: CommitmentLevel.Finalized,
}
# JSON-RPC errors that a node answers before it forwards a transaction: failed simulation, bad signature, failed
# precompile, wrong number of signatures, unknown version, undecodable bytes. After any other it may have been sent.
_NOT_SENT: Final = frozenset({-32002, -32003, -32006, -32013, -32015, -32602})
_CLOCK_TIME: Final = slice(32, 40)
_FIRST_BLOCK: Final = 1_584_282_000  # Unix seconds; no cluster is older than mainnet

Answer = TypeVar("Answer")


class RpcChain:
    """The cluster behind `url`, which may hold a key: errors name only its host. ChainError when it is no URL.

    A try may take `timeout` seconds; after one without an answer there is another for each of `pauses`, which are the
    seconds to wait before it.
    """

    def __init__(self, url: str, *, timeout: float = 15.0, pauses: Sequence[float] = (0.2, 0.8)) -> None:
        self._wire = wire.Wire(url, timeout=timeout, pauses=pauses)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._wire.aclose()

    async def account(
        self, address: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED, min_slot: int | None = None
    ) -> AccountInfo | None:
        """The account, or None where there is none."""
        request = requests.GetAccountInfo(address, _account_config(commitment, min_slot))
        answer = await self._ask(request, wire.AccountAnswer)
        self._require_slot(answer.context.slot, min_slot)
        return _account(address, answer.value, answer.context.slot)

    async def accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment = Commitment.CONFIRMED,
        min_slot: int | None = None,
    ) -> list[AccountInfo | None]:
        """Up to 100 accounts as of one slot, in the order asked for."""
        request = requests.GetMultipleAccounts(list(addresses), _account_config(commitment, min_slot))
        answer = await self._ask(request, wire.AccountsAnswer)
        self._require_slot(answer.context.slot, min_slot)
        if len(answer.value) != len(addresses):
            raise ChainUnavailableError(f"{self._wire.name} answered {len(answer.value)} of {len(addresses)} accounts")
        slot = answer.context.slot
        return [_account(address, found, slot) for address, found in zip(addresses, answer.value, strict=True)]

    async def latest_blockhash(self, *, commitment: Commitment = Commitment.CONFIRMED) -> LatestBlockhash:
        """A blockhash to sign with."""
        request = requests.GetLatestBlockhash(config.RpcContextConfig(_LEVELS[commitment]))
        answer = await self._ask(request, wire.BlockhashAnswer)
        return LatestBlockhash(
            blockhash=_parsed(Hash.from_string, answer.value.blockhash),
            slot=answer.context.slot,
            last_valid_block_height=answer.value.last_valid_block_height,
        )

    async def genesis_hash(self) -> str:
        """The hash that tells this cluster from every other."""
        return await self._ask(requests.GetGenesisHash(), str)

    async def slot(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The newest slot at this level."""
        return await self._ask(requests.GetSlot(config.RpcContextConfig(_LEVELS[commitment])), int)

    async def block_height(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The newest block's height at this level."""
        return await self._ask(requests.GetBlockHeight(config.RpcContextConfig(_LEVELS[commitment])), int)

    async def block_time(self) -> int:
        """The chain's own time in Unix seconds, as programs read it."""
        clock = await self.account(CLOCK_SYSVAR_ID)
        if clock is None or len(clock.data) < _CLOCK_TIME.stop:
            raise ChainUnavailableError(f"{self._wire.name} has no clock")
        return int.from_bytes(clock.data[_CLOCK_TIME], "little", signed=True)

    async def send(self, raw: bytes) -> str:
        """Hand a signed transaction to the node; see `Chain.send`."""
        signature = signature_of(decode_signed(raw))
        settings = config.RpcSendTransactionConfig(preflight_commitment=CommitmentLevel.Confirmed)
        try:
            answered = await self._wire.ask(requests.SendRawTransaction(raw, settings), str)
        except wire.RpcRefusalError as refusal:
            if _already_landed(refusal.error):
                return signature
            if refusal.error.code in _NOT_SENT:
                raise _refused(refusal.error) from None
            raise SendOutcomeUnknownError(f"{self._wire.name} answered: {refusal}", signature) from None
        except ChainUnavailableError as error:
            raise SendOutcomeUnknownError(str(error), signature) from None
        if answered != signature:
            raise SendOutcomeUnknownError(f"{self._wire.name} answered another signature, {answered:.88}", signature)
        return signature

    async def signature_status(self, signature: str, *, search_history: bool = True) -> SignatureStatus | None:
        """What became of a transaction; None for what is no signature at all."""
        parsed = _signature(signature)
        if parsed is None:
            return None
        settings = config.RpcSignatureStatusConfig(search_transaction_history=search_history)
        answer = await self._ask(requests.GetSignatureStatuses([parsed], settings), wire.StatusesAnswer)
        if len(answer.value) != 1:
            raise ChainUnavailableError(f"{self._wire.name} answered {len(answer.value)} statuses for one signature")
        status = answer.value[0]
        return None if status is None else SignatureStatus(status.slot, _level(status), _error(status.err))

    async def transaction(
        self, signature: str, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> TransactionInfo | None:
        """A transaction that landed, failed ones included, or None."""
        parsed = _signature(signature)
        if parsed is None:
            return None
        settings = config.RpcTransactionConfig(
            encoding=UiTransactionEncoding.Base64,
            commitment=_LEVELS[commitment],
            max_supported_transaction_version=0,
        )
        # mypy has no type of a union yet (PEP 747); msgspec does.
        optional = cast("type[wire.TransactionAnswer | None]", wire.TransactionAnswer | None)
        answer = await self._ask(requests.GetTransaction(parsed, settings), optional)
        if answer is None:
            return None
        return TransactionInfo(
            signature=signature,
            slot=answer.slot,
            # A local validator answers 0 in the slot itself, and later a thousandth of what it means.
            block_time=answer.block_time if (answer.block_time or 0) > _FIRST_BLOCK else None,
            error=_error(answer.meta.err),
            logs=tuple(answer.meta.log_messages or ()),
            raw=_parsed(_from_base64, answer.transaction[0]),
            fee=answer.meta.fee,
            compute_units=answer.meta.compute_units_consumed,
        )

    async def signatures_for(self, address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        """Signatures of confirmed transactions that name the address, newest first; `limit` up to 1,000."""
        settings = config.RpcSignaturesForAddressConfig(
            before=None if before is None else _signature(before), limit=limit, commitment=CommitmentLevel.Confirmed
        )
        answer = await self._ask(requests.GetSignaturesForAddress(address, settings), list[wire.SignatureAnswer])
        return [found.signature for found in answer]

    async def program_accounts(
        self, program: Pubkey, *, offset: int, key: Pubkey, commitment: Commitment = Commitment.CONFIRMED
    ) -> list[AccountInfo]:
        """Every account of `program` whose data holds `key` at `offset`."""
        settings = config.RpcProgramAccountsConfig(
            config.RpcAccountInfoConfig(encoding=UiAccountEncoding.Base64, commitment=_LEVELS[commitment]),
            [Memcmp(offset, str(key))],
        )
        slot = await self.slot(commitment=commitment)
        found = await self._ask(requests.GetProgramAccounts(program, settings), list[wire.KeyedAccount])
        return [
            account
            for one in found
            if (account := _account(_parsed(Pubkey.from_string, one.pubkey), one.account, slot)) is not None
        ]

    async def simulate(self, raw: bytes) -> SimulationResult:
        """Run a transaction without landing it."""
        settings = config.RpcSimulateTransactionConfig(sig_verify=True, commitment=CommitmentLevel.Confirmed)
        request = requests.SimulateVersionedTransaction(decode_signed(raw), settings)
        answer = (await self._ask(request, wire.SimulationAnswer)).value
        return SimulationResult(_error(answer.err), tuple(answer.logs or ()), answer.units_consumed)

    async def recent_priority_fees(self, writable: Sequence[Pubkey]) -> list[int]:
        """What transactions that write to these accounts paid in recent blocks."""
        request = requests.GetRecentPrioritizationFees(list(writable))
        return [block.prioritization_fee for block in await self._ask(request, list[wire.PriorityFeeAnswer])]

    async def minimum_balance(self, space: int) -> int:
        """Lamports that keep an account of `space` bytes free of rent."""
        return await self._ask(requests.GetMinimumBalanceForRentExemption(space), int)

    async def _ask(self, request: Any, answer: type[Answer]) -> Answer:  # noqa: ANN401  solders' requests share no type
        try:
            return await self._wire.ask(request, answer)
        except wire.RpcRefusalError as refusal:
            raise ChainUnavailableError(f"{self._wire.name} refused {type(request).__name__}: {refusal}") from None

    def _require_slot(self, slot: int, min_slot: int | None) -> None:
        # A node may ignore minContextSlot; an older view of an account would pass off spent money as there (F07).
        if min_slot is not None and slot < min_slot:
            raise ChainUnavailableError(f"{self._wire.name} is behind: it answered for slot {slot}, not {min_slot}")


def _account_config(commitment: Commitment, min_slot: int | None) -> config.RpcAccountInfoConfig:
    return config.RpcAccountInfoConfig(
        encoding=UiAccountEncoding.Base64, commitment=_LEVELS[commitment], min_context_slot=min_slot
    )


def _account(address: Pubkey, found: wire.Account | None, slot: int) -> AccountInfo | None:
    if found is None:
        return None
    return AccountInfo(
        address=address,
        owner=_parsed(Pubkey.from_string, found.owner),
        lamports=found.lamports,
        data=_parsed(_from_base64, found.data[0]),
        slot=slot,
    )


def _level(status: wire.Status) -> Commitment:
    if status.confirmation_status in list(Commitment):
        return Commitment(status.confirmation_status)
    # Old nodes say only how many blocks confirmed it, and None once it is rooted.
    return Commitment.FINALIZED if status.confirmations is None else Commitment.PROCESSED


def _error(found: Any) -> str | None:  # noqa: ANN401  the runtime's errors have many shapes
    return None if found is None else json.dumps(found, separators=(",", ":"))


def _refused(error: wire.RpcError) -> TransactionRefusedError:
    simulation = _simulation(error)
    if simulation is None:
        return TransactionRefusedError(error.message)
    reason = _error(simulation.err) or error.message
    return TransactionRefusedError(reason, program_error=program_error(reason), logs=tuple(simulation.logs or ()))


def _already_landed(error: wire.RpcError) -> bool:
    simulation = _simulation(error)
    said = error.message if simulation is None else simulation.err
    return said == "AlreadyProcessed" or (error.code in _NOT_SENT and "already been processed" in str(said))


def _simulation(error: wire.RpcError) -> wire.Simulation | None:
    try:
        return msgspec.json.decode(error.data, type=wire.Simulation)
    except msgspec.DecodeError:
        return None


def _signature(text: str) -> Signature | None:
    # What is no signature names no transaction.
    try:
        return Signature.from_string(text)
    except ValueError:
        return None


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _parsed(parse: Callable[[str], Answer], text: str) -> Answer:
    try:
        return parse(text)
    except (ValueError, ParseHashError) as error:
        raise ChainUnavailableError(f"the node's answer cannot be read: {error}") from None
