"""An instruction that is still being bent: accounts, flags, arguments and the voucher before it."""

from dataclasses import dataclass, field
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import (
    CLOCK_SYSVAR_ID,
    ED25519_PROGRAM_ID,
    INSTRUCTIONS_SYSVAR_ID,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
)
from retainer.protocol.errors import LayoutError
from retainer.protocol.instruction_data import DecodedInstruction, decode_instruction, encode_instruction
from retainer.protocol.instructions import ACCOUNT_SLOTS, account_metas
from retainer.protocol.vouchers import Voucher, voucher_bytes
from tests.program.fuzzing.model import Asked, Seen
from tests.program.harness.precompile import Shape

NEVER_WRITABLE: Final = frozenset(
    {
        CLOCK_SYSVAR_ID,
        ED25519_PROGRAM_ID,
        INSTRUCTIONS_SYSVAR_ID,
        PROGRAM_ID,
        RENT_SYSVAR_ID,
        SYSTEM_PROGRAM_ID,
    }
)
"""The runtime takes the right to write to these away, whatever a transaction says."""
NAMES: Final = {
    "OpenData": "open",
    "OpenWithTermsData": "open_with_terms",
    "TopUpData": "top_up",
    "SettleData": "settle",
    "CloseData": "close",
    "RequestCloseData": "request_close",
    "WithdrawData": "withdraw",
}


@dataclass(slots=True)
class VoucherDraft:
    """The voucher to put before an instruction; one that is not canonical verifies all the same."""

    signer: Pubkey
    key: Keypair
    session: Pubkey
    cumulative: int
    expires_at: int = 0
    canonical: bool = True

    def instruction(self) -> Instruction:
        """The precompile instruction."""
        voucher = Voucher(self.session, BaseUnits(self.cumulative), self.expires_at)
        message = voucher_bytes(voucher)
        shape = Shape(key=bytes(self.signer), signature=bytes(self.key.sign_message(message)), message=message)
        return (shape if self.canonical else shape.padded()).instruction()

    def seen(self) -> Seen:
        """What the program finds in it."""
        return Seen(self.canonical, self.signer, self.session, self.cumulative, self.expires_at)


@dataclass(slots=True)
class Draft:
    """One of our instructions; `data` replaces the bytes of `args` when a byte was bent."""

    args: DecodedInstruction
    accounts: list[Pubkey]
    voucher: VoucherDraft | None = None
    data: bytes | None = None
    unsigned: set[Pubkey] = field(default_factory=set)
    readonly: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The instruction that it was meant as."""
        return NAMES[type(self.args).__name__]

    @property
    def slots(self) -> list[str]:
        """The names of its account slots."""
        return [spec.partition("[")[0] for spec in ACCOUNT_SLOTS[self.name]]

    def __str__(self) -> str:
        at = ", ".join(f"{slot}={key}" for slot, key in zip(self.slots, self.accounts, strict=True))
        missing = f"unsigned {[str(key) for key in self.unsigned]}, readonly {sorted(self.readonly)}"
        data = self.data.hex() if self.data is not None else self.args
        return f"{self.name}: {data}; {at}; {missing}; voucher {self.voucher}"

    def instruction(self) -> Instruction:
        """Its bytes."""
        metas = account_metas(self.name, tuple(self.accounts))
        for at, slot in enumerate(self.slots):
            meta = metas[at]
            if meta.pubkey in self.unsigned or slot in self.readonly:
                signs = meta.is_signer and meta.pubkey not in self.unsigned
                metas[at] = AccountMeta(meta.pubkey, signs, meta.is_writable and slot not in self.readonly)
        data = encode_instruction(self.args) if self.data is None else self.data
        return Instruction(PROGRAM_ID, data, metas)

    def asked(self, signed: frozenset[Pubkey], writable: frozenset[Pubkey], before: Seen | None) -> Asked | None:
        """What the program is asked, given the keys that sign and may be written to; None when accounts are missing."""
        args, name = self.args, self.name
        if self.data is not None:
            try:
                args = decode_instruction(self.data)
            except LayoutError:
                return Asked(name, None, dict(zip(self.slots, self.accounts, strict=True)), signed, writable)
            name = NAMES[type(args).__name__]
        slots = [spec.partition("[")[0] for spec in ACCOUNT_SLOTS[name]]
        if len(slots) > len(self.accounts):
            return None
        return Asked(name, args, dict(zip(slots, self.accounts, strict=False)), signed, writable, before)
