"""A signed transaction taken apart, so that every account, signature and instruction in it has been looked at."""

from dataclasses import dataclass
from typing import Final

from construct import Int32ul, Int64ul, Struct
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import SanitizeError, VersionedTransaction

from retainer.protocol.codec import Layout
from retainer.protocol.constants import COMPUTE_BUDGET_PROGRAM_ID, MAX_TRANSACTION_BYTES
from retainer.protocol.errors import LayoutError, TransactionError

# What Solana charges per signature, and grants at most per transaction.
LAMPORTS_PER_SIGNATURE: Final = 5000
MAX_COMPUTE_UNITS: Final = 1_400_000
_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ComputeBudget:
    """What the transaction asks for; ``price`` in millionths of a lamport per compute unit."""

    limit: int = MAX_COMPUTE_UNITS
    price: int = 0

    @property
    def priority_fee(self) -> int:
        """Lamports at most, rounded up."""
        return -(-self.limit * self.price // _MICRO)


@dataclass(frozen=True, slots=True)
class _LimitData:
    limit: int


@dataclass(frozen=True, slots=True)
class _PriceData:
    price: int


_SET_LIMIT: Final = Layout(_LimitData, Struct("limit" / Int32ul), tag=b"\x02")
_SET_PRICE: Final = Layout(_PriceData, Struct("price" / Int64ul), tag=b"\x03")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A transaction without lookup tables, its present signatures verified, its compute budget read.

    ``instructions`` are those beside the compute budget, their account flags as the message gives them.
    """

    keys: tuple[Pubkey, ...]
    signatures: tuple[Signature, ...]
    blockhash: Hash
    instructions: tuple[Instruction, ...]
    budget: ComputeBudget
    flags: dict[Pubkey, tuple[bool, bool]]

    @property
    def fee_payer(self) -> Pubkey:
        """The first signer."""
        return self.keys[0]

    @property
    def signature(self) -> str | None:
        """The transaction's id: the fee payer's signature in base58; None until it has signed."""
        return None if self.signatures[0] == Signature.default() else str(self.signatures[0])

    @property
    def missing(self) -> tuple[Pubkey, ...]:
        """Signers whose signature is still to come."""
        signed = zip(self.keys, self.signatures, strict=False)
        return tuple(key for key, signature in signed if signature == Signature.default())

    @property
    def signed_by(self) -> frozenset[Pubkey]:
        """Signers whose signature is there, and verified."""
        return frozenset(self.keys[: len(self.signatures)]) - frozenset(self.missing)

    @property
    def max_fee(self) -> int:
        """Lamports that the fee payer pays at most for signatures and priority."""
        return LAMPORTS_PER_SIGNATURE * len(self.signatures) + self.budget.priority_fee


def decode_transaction(raw: bytes) -> VersionedTransaction:
    """A transaction that fits a packet and has exactly these bytes, else TransactionError; verifies no signature."""
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise TransactionError(
            f"the transaction has {len(raw)} bytes, more than the {MAX_TRANSACTION_BYTES} of a packet"
        )
    try:
        transaction = VersionedTransaction.from_bytes(raw)
        transaction.sanitize()
    except (ValueError, SanitizeError) as error:
        raise TransactionError(f"the bytes are no transaction: {error}") from None
    if bytes(transaction) != raw:
        raise TransactionError("the transaction is followed by other bytes or not canonically encoded")
    return transaction


def open_envelope(raw: bytes) -> Envelope:
    """Take a transaction apart; TransactionError on lookup tables, wrong signatures and repeated accounts."""
    transaction = decode_transaction(raw)
    message = transaction.message
    if not isinstance(message, Message | MessageV0):
        raise TransactionError("the transaction is of a version later than 0, which is not read here")
    if isinstance(message, MessageV0) and message.address_table_lookups:
        raise TransactionError("the transaction uses lookup tables, which could change what it touches after signing")
    keys = tuple(message.account_keys)
    if len(set(keys)) != len(keys):
        raise TransactionError("the transaction names an account twice")
    for key, signature, valid in zip(keys, transaction.signatures, transaction.verify_with_results(), strict=False):
        if signature != Signature.default() and not valid:
            raise TransactionError(f"the signature of {key} does not verify")
    flags = _flags(message)
    instructions = [
        Instruction(
            keys[compiled.program_id_index],
            compiled.data,
            [AccountMeta(keys[index], *flags[index]) for index in compiled.accounts],
        )
        for compiled in message.instructions
    ]
    return Envelope(
        keys=keys,
        signatures=tuple(transaction.signatures),
        blockhash=message.recent_blockhash,
        instructions=tuple(other for other in instructions if other.program_id != COMPUTE_BUDGET_PROGRAM_ID),
        budget=_budget([own for own in instructions if own.program_id == COMPUTE_BUDGET_PROGRAM_ID]),
        flags=dict(zip(keys, flags, strict=True)),
    )


def require_exact_accounts(envelope: Envelope, expected: tuple[Instruction, ...]) -> None:
    """TransactionError unless the message grants each account just what ``expected`` and paying the fee need.

    An account that nothing needs, or that is writable or a signer without need, is how a foreign effect would get in.
    """
    needed = {envelope.fee_payer: (True, True)}
    for instruction in expected:
        for meta in instruction.accounts:
            signer, writable = needed.get(meta.pubkey, (False, False))
            needed[meta.pubkey] = (signer or meta.is_signer, writable or meta.is_writable)
        needed.setdefault(instruction.program_id, (False, False))
    for key, granted in envelope.flags.items():
        if key == COMPUTE_BUDGET_PROGRAM_ID and key not in needed:
            needed[key] = (False, False)
        if key not in needed:
            raise TransactionError(f"the transaction names {key}, which none of its instructions may touch")
        if granted != needed[key]:
            raise TransactionError(f"the transaction makes {key} a signer or writable other than its instructions need")


def _flags(message: Message | MessageV0) -> list[tuple[bool, bool]]:
    """Signer and writable of each account, as the message's header has them."""
    header, total = message.header, len(message.account_keys)
    signers = header.num_required_signatures
    last_writable_signer = signers - header.num_readonly_signed_accounts
    last_writable = total - header.num_readonly_unsigned_accounts
    return [
        (index < signers, index < (last_writable_signer if index < signers else last_writable))
        for index in range(total)
    ]


def _budget(instructions: list[Instruction]) -> ComputeBudget:
    """Only the compute unit limit and price may be asked for, each once."""
    asked: dict[str, int] = {}
    for instruction in instructions:
        try:
            if instruction.data.startswith(_SET_LIMIT.tag):
                name, value = "limit", _SET_LIMIT.decode(instruction.data).limit
            else:
                name, value = "price", _SET_PRICE.decode(instruction.data).price
        except LayoutError:
            raise TransactionError(
                "the transaction asks the compute budget for more than a limit and a price"
            ) from None
        if name in asked or instruction.accounts:
            raise TransactionError(f"the transaction asks twice for a compute unit {name}, or with accounts")
        asked[name] = value
    return ComputeBudget(min(asked.get("limit", MAX_COMPUTE_UNITS), MAX_COMPUTE_UNITS), asked.get("price", 0))
