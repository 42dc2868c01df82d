"""Building the program's instructions, and the two of other programs that stand beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    ATA_PROGRAM_ID,
    ED25519_PROGRAM_ID,
    INSTRUCTIONS_SYSVAR_ID,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
)
from retainer.protocol.errors import LayoutError
from retainer.protocol.instruction_data import (
    CloseData,
    DecodedInstruction,
    OpenData,
    OpenWithTermsData,
    RequestCloseData,
    SettleData,
    TopUpData,
    WithdrawData,
    encode_instruction,
)
from retainer.protocol.pda import SessionSeeds, derive_ata, derive_event_authority, derive_session, derive_vault
from retainer.protocol.session import SessionAccount
from retainer.protocol.sla import NO_TERMS_HASH
from retainer.protocol.vouchers import SignedVoucher, voucher_bytes

# Slots in the order that the program reads: "[w]" writable, "[s]" signer.
ACCOUNT_SLOTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "open": (
            "payer[sw]",
            "rent_payer[sw]",
            "payee",
            "mint",
            "authorized_signer",
            "session[w]",
            "payer_token[w]",
            "escrow[w]",
            "token_program",
            "system_program",
            "rent",
            "ata_program",
            "event_authority",
            "this_program",
        ),
        "top_up": ("payer[sw]", "session[w]", "payer_token[w]", "escrow[w]", "mint", "token_program"),
        "request_close": ("payer[s]", "session[w]"),
        "open_with_terms": (
            "payer[sw]",
            "rent_payer[sw]",
            "payee",
            "operator",
            "mint",
            "authorized_signer",
            "session[w]",
            "payer_token[w]",
            "escrow[w]",
            "token_program",
            "system_program",
        ),
        "settle": (
            "submitter[s]",
            "session[w]",
            "escrow[w]",
            "payee_token[w]",
            "mint",
            "token_program",
            "instructions",
        ),
        "close": (
            "submitter[s]",
            "rent_payer[w]",
            "session[w]",
            "escrow[w]",
            "payee_token[w]",
            "payer_token[w]",
            "mint",
            "token_program",
            "instructions",
        ),
        "withdraw": ("session[w]", "rent_payer[w]", "escrow[w]", "payer_token[w]", "mint", "token_program"),
    }
)
ACCOUNT_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {name: tuple(slot.partition("[")[0] for slot in slots) for name, slots in ACCOUNT_SLOTS.items()}
)

# Idempotent: an account that exists already is left alone.
CREATE_ATA_IDEMPOTENT_DATA: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenParams:
    """A stock opening: no terms, the payee is the operator, the escrow is the session's associated token account."""

    payer: Pubkey
    rent_payer: Pubkey
    payee: Pubkey
    mint: Pubkey
    authorized_signer: Pubkey
    salt: int
    deposit: int
    grace_period: int
    open_slot: int
    payer_token: Pubkey
    token_program: Pubkey = TOKEN_PROGRAM_ID

    @property
    def seeds(self) -> SessionSeeds:
        """What the session's address derives from."""
        return SessionSeeds(self.payer, self.payee, self.mint, self.authorized_signer, self.salt, self.open_slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWithTermsParams(OpenParams):
    """retainer's own opening, with operator, price, expiry and SLA hash committed from the first moment."""

    operator: Pubkey
    price_per_unit: int
    expires_at: int = 0
    sla_hash: bytes = NO_TERMS_HASH
    batch: bool = False


def open_session(params: OpenParams, program_id: Pubkey = PROGRAM_ID) -> Instruction:
    """Stock ``open``, for retainer's program or the one it is compatible with."""
    session, _ = derive_session(params.seeds, program_id)
    data = OpenData(params.salt, params.deposit, params.grace_period, params.open_slot)
    accounts = (
        params.payer,
        params.rent_payer,
        params.payee,
        params.mint,
        params.authorized_signer,
        session,
        params.payer_token,
        derive_ata(session, params.mint, params.token_program),
        params.token_program,
        SYSTEM_PROGRAM_ID,
        RENT_SYSVAR_ID,
        ATA_PROGRAM_ID,
        derive_event_authority(program_id),
        program_id,
    )
    return _instruction("open", data, accounts, program_id)


def open_with_terms(params: OpenWithTermsParams, program_id: Pubkey = PROGRAM_ID) -> Instruction:
    """``open_with_terms`` into the session's vault."""
    session, _ = derive_session(params.seeds, program_id)
    data = OpenWithTermsData(
        salt=params.salt,
        deposit=params.deposit,
        grace_period=params.grace_period,
        open_slot=params.open_slot,
        price_per_unit=params.price_per_unit,
        expires_at=params.expires_at,
        sla_hash=params.sla_hash,
        batch=params.batch,
    )
    accounts = (
        params.payer,
        params.rent_payer,
        params.payee,
        params.operator,
        params.mint,
        params.authorized_signer,
        session,
        params.payer_token,
        derive_vault(session, program_id)[0],
        params.token_program,
        SYSTEM_PROGRAM_ID,
    )
    return _instruction("open_with_terms", data, accounts, program_id)


def top_up(
    *,
    payer: Pubkey,
    session: Pubkey,
    payer_token: Pubkey,
    escrow: Pubkey,
    mint: Pubkey,
    amount: int,
    token_program: Pubkey = TOKEN_PROGRAM_ID,
    program_id: Pubkey = PROGRAM_ID,
) -> Instruction:
    """Add ``amount`` base units to the deposit."""
    accounts = (payer, session, payer_token, escrow, mint, token_program)
    return _instruction("top_up", TopUpData(amount), accounts, program_id)


def settle(
    *,
    submitter: Pubkey,
    session: Pubkey,
    account: SessionAccount,
    payee_token: Pubkey,
    amount: int,
    charged_units: int,
    token_program: Pubkey = TOKEN_PROGRAM_ID,
    program_id: Pubkey = PROGRAM_ID,
) -> Instruction:
    """Pay out up to cumulative ``amount``; in voucher mode ``ed25519_voucher`` must stand directly before it."""
    mint = _moving_mint(account, token_program, program_id)
    sysvar = _voucher_sysvar(account, program_id)
    accounts = (submitter, session, account.escrow, payee_token, mint, token_program, sysvar)
    return _instruction("settle", SettleData(amount, charged_units, account.opened_at), accounts, program_id)


def close(
    *,
    submitter: Pubkey,
    session: Pubkey,
    account: SessionAccount,
    payee_token: Pubkey,
    payer_token: Pubkey,
    amount: int,
    charged_units: int,
    usage_root: bytes,
    batch: bool = False,
    token_program: Pubkey = TOKEN_PROGRAM_ID,
    program_id: Pubkey = PROGRAM_ID,
) -> Instruction:
    """Settle up to cumulative ``amount`` and refund the rest; same neighbour as ``settle`` in voucher mode."""
    data = CloseData(amount, charged_units, account.opened_at, usage_root, batch)
    accounts = (
        submitter,
        account.rent_payer,
        session,
        account.escrow,
        payee_token,
        payer_token,
        _moving_mint(account, token_program, program_id),
        token_program,
        _voucher_sysvar(account, program_id),
    )
    return _instruction("close", data, accounts, program_id)


def request_close(*, payer: Pubkey, session: Pubkey, program_id: Pubkey = PROGRAM_ID) -> Instruction:
    """The payer starts the grace period."""
    return _instruction("request_close", RequestCloseData(), (payer, session), program_id)


def withdraw(
    *,
    session: Pubkey,
    account: SessionAccount,
    payer_token: Pubkey,
    token_program: Pubkey = TOKEN_PROGRAM_ID,
    program_id: Pubkey = PROGRAM_ID,
) -> Instruction:
    """The payer's own exit from the deadline on; needs no signature but the fee payer's."""
    mint = _moving_mint(account, token_program, program_id)
    accounts = (session, account.rent_payer, account.escrow, payer_token, mint, token_program)
    return _instruction("withdraw", WithdrawData(), accounts, program_id)


def ed25519_voucher(signed: SignedVoucher) -> Instruction:
    """The canonical 162-byte precompile instruction: every offset points into itself (index 0xffff)."""
    itself, key_at, signature_at, message_at = 0xFFFF, 16, 48, 112
    message = voucher_bytes(signed.voucher)
    offsets = (signature_at, itself, key_at, itself, message_at, len(message), itself)
    header = b"\x01\x00" + b"".join(offset.to_bytes(2, "little") for offset in offsets)
    return Instruction(ED25519_PROGRAM_ID, header + bytes(signed.signer) + bytes(signed.signature) + message, [])


def create_ata_idempotent(
    *, funder: Pubkey, owner: Pubkey, mint: Pubkey, token_program: Pubkey = TOKEN_PROGRAM_ID
) -> Instruction:
    """Create ``owner``'s associated token account unless it exists."""
    accounts = [
        AccountMeta(funder, is_signer=True, is_writable=True),
        AccountMeta(derive_ata(owner, mint, token_program), is_signer=False, is_writable=True),
        *(
            AccountMeta(key, is_signer=False, is_writable=False)
            for key in (owner, mint, SYSTEM_PROGRAM_ID, token_program)
        ),
    ]
    return Instruction(ATA_PROGRAM_ID, CREATE_ATA_IDEMPOTENT_DATA, accounts)


def account_metas(name: str, accounts: tuple[Pubkey, ...]) -> list[AccountMeta]:
    """The accounts of instruction ``name`` with the flags that its slots ask for; LayoutError on another number."""
    slots = ACCOUNT_SLOTS[name]
    if len(accounts) != len(slots):
        raise LayoutError(f"{name} takes {len(slots)} accounts, not {len(accounts)}")
    metas = []
    for key, slot in zip(accounts, slots, strict=True):
        flags = slot.partition("[")[2]
        metas.append(AccountMeta(key, is_signer="s" in flags, is_writable="w" in flags))
    return metas


# An account that an instruction can do without is left out by naming the program in its place, as Anchor has it. That
# key is in the transaction anyway, so each that is left out makes it 32 bytes smaller.
def _moving_mint(account: SessionAccount, token_program: Pubkey, program_id: Pubkey) -> Pubkey:
    return program_id if token_program == TOKEN_PROGRAM_ID else account.mint


def _voucher_sysvar(account: SessionAccount, program_id: Pubkey) -> Pubkey:
    return program_id if account.authorized_signer == account.operator else INSTRUCTIONS_SYSVAR_ID


def _instruction(name: str, data: DecodedInstruction, accounts: tuple[Pubkey, ...], program_id: Pubkey) -> Instruction:
    return Instruction(program_id, encode_instruction(data), account_metas(name, accounts))
