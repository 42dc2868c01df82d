"""A plain token transfer that names a session: how custodial deposits, top-ups and refunds travel.

The session's address stands in the transfer as a read-only reference (Solana Pay's way): the token program ignores it,
nodes find the transfer by it, and a transfer that names one session can serve no other.
"""

from dataclasses import dataclass
from typing import Final

from construct import Int8ul, Int64ul, Struct
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.codec import Layout
from retainer.protocol.constants import ATA_PROGRAM_ID
from retainer.protocol.envelopes import Envelope, open_envelope, require_exact_accounts
from retainer.protocol.errors import LayoutError, TransactionError
from retainer.protocol.instructions import create_ata_idempotent
from retainer.protocol.pda import derive_ata


@dataclass(frozen=True, slots=True)
class _TransferData:
    amount: int
    decimals: int


_TRANSFER_CHECKED: Final = Layout(_TransferData, Struct("amount" / Int64ul, "decimals" / Int8ul), tag=b"\x0c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Base units of ``mint`` that go from one owner's associated token account to another's, for ``session``."""

    session: Pubkey
    sender: Pubkey
    recipient: Pubkey
    mint: Pubkey
    decimals: int
    token_program: Pubkey
    amount: BaseUnits

    def instruction(self) -> Instruction:
        """`TransferChecked`, which fails on any other mint or decimals, with the session as its reference."""
        return Instruction(
            self.token_program,
            _TRANSFER_CHECKED.encode(_TransferData(self.amount, self.decimals)),
            [
                AccountMeta(derive_ata(self.sender, self.mint, self.token_program), is_signer=False, is_writable=True),
                AccountMeta(self.mint, is_signer=False, is_writable=False),
                AccountMeta(
                    derive_ata(self.recipient, self.mint, self.token_program), is_signer=False, is_writable=True
                ),
                AccountMeta(self.sender, is_signer=True, is_writable=False),
                AccountMeta(self.session, is_signer=False, is_writable=False),
            ],
        )


@dataclass(frozen=True, slots=True)
class SignedTransfer:
    """A transfer whose only signer has signed it. A durable nonce would need an instruction more: it is refused."""

    signature: str
    blockhash: Hash
    amount: BaseUnits


def inspect_transfer(raw: bytes, expected: Transfer) -> SignedTransfer:
    """A signed transaction that is ``expected`` and nothing else, paid for by its sender; TransactionError otherwise.

    ``expected.amount`` counts as well.
    """
    envelope = open_envelope(raw)
    [instruction, *others] = envelope.instructions or (None,)
    if instruction is None or others:
        raise TransactionError("the transaction must hold one transfer and nothing else")
    _require_same(instruction, expected)
    if envelope.fee_payer != expected.sender:
        raise TransactionError(f"its fee is paid by {envelope.fee_payer}, not by the sender {expected.sender}")
    require_exact_accounts(envelope, (expected.instruction(),))
    if envelope.signature is None or envelope.missing:
        raise TransactionError("the sender's signature is missing")
    return SignedTransfer(envelope.signature, envelope.blockhash, expected.amount)


def find_deposit(raw: bytes, *, payee: Pubkey, mint: Pubkey, decimals: int, token_program: Pubkey) -> Transfer | None:
    """The deposit for ``payee`` that a landed transaction is, and nothing else: whoever sent it, for any session."""
    try:
        [instruction] = open_envelope(raw).instructions
        [_, _, _, sender, session] = [meta.pubkey for meta in instruction.accounts]
        amount = _TRANSFER_CHECKED.decode(bytes(instruction.data)).amount
        found = Transfer(
            session=session,
            sender=sender,
            recipient=payee,
            mint=mint,
            decimals=decimals,
            token_program=token_program,
            amount=BaseUnits(amount),
        )
        inspect_transfer(raw, found)
    except (LayoutError, TransactionError, ValueError):
        return None
    return found


def find_refund(raw: bytes, expected: Transfer) -> BaseUnits | None:
    """What a landed transaction sends along ``expected``'s way, whatever its amount; None where it is no refund.

    It may have created the recipient's token account first.
    """
    try:
        envelope = open_envelope(raw)
    except TransactionError:
        return None
    transfers = [found for found in envelope.instructions if not _creates(found, expected, envelope)]
    if len(transfers) != 1:
        return None
    try:
        amount = _TRANSFER_CHECKED.decode(bytes(transfers[0].data)).amount
        found = Transfer(
            session=expected.session,
            sender=expected.sender,
            recipient=expected.recipient,
            mint=expected.mint,
            decimals=expected.decimals,
            token_program=expected.token_program,
            amount=BaseUnits(amount),
        )
        _require_same(transfers[0], found)
    except (LayoutError, TransactionError):
        return None
    return found.amount


def _creates(instruction: Instruction, expected: Transfer, envelope: Envelope) -> bool:
    if instruction.program_id != ATA_PROGRAM_ID:
        return False
    creation = create_ata_idempotent(
        funder=envelope.fee_payer,
        owner=expected.recipient,
        mint=expected.mint,
        token_program=expected.token_program,
    )
    return _parts(instruction) == _parts(creation)


def _require_same(instruction: Instruction, expected: Transfer) -> None:
    wanted = expected.instruction()
    if instruction.program_id != wanted.program_id:
        raise TransactionError(f"it calls {instruction.program_id}, not the token program {wanted.program_id}")
    names = ("the sender's token account", "the mint", "the recipient's token account", "the sender", "the session")
    if len(instruction.accounts) != len(wanted.accounts):
        raise TransactionError(f"the transfer names {len(instruction.accounts)} accounts, not {', '.join(names)}")
    for name, found, meant in zip(names, instruction.accounts, wanted.accounts, strict=True):
        if found.pubkey != meant.pubkey:
            raise TransactionError(f"{name} is {found.pubkey}, and should be {meant.pubkey}")
    try:
        data = _TRANSFER_CHECKED.decode(bytes(instruction.data))
    except LayoutError as error:
        raise TransactionError(f"it is no checked transfer: {error}") from None
    if (data.amount, data.decimals) != (expected.amount, expected.decimals):
        raise TransactionError(
            f"it moves {data.amount} base units at {data.decimals} decimals, "
            f"and should move {expected.amount} at {expected.decimals}"
        )


def _parts(instruction: Instruction) -> tuple[Pubkey, bytes, list[Pubkey]]:
    return instruction.program_id, bytes(instruction.data), [meta.pubkey for meta in instruction.accounts]
