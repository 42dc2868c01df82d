"""Honest drafts: every instruction as its rightful sender would make it, from explicit choices."""

from dataclasses import dataclass
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    ATA_PROGRAM_ID,
    INSTRUCTIONS_SYSVAR_ID,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
)
from retainer.protocol.instruction_data import (
    CloseData,
    OpenData,
    OpenWithTermsData,
    RequestCloseData,
    SettleData,
    TopUpData,
    WithdrawData,
)
from retainer.protocol.pda import SessionSeeds, derive_event_authority
from retainer.protocol.session import SessionAccount
from tests.program.fuzzing.arena import Arena
from tests.program.fuzzing.drafts import Draft, VoucherDraft
from tests.program.fuzzing.opening import ata_address, session_address, vault_address

EVENT_AUTHORITY: Final = derive_event_authority()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Whose session it is to be, of which mint; `operator` and `signer` decide the mode."""

    payer: Pubkey
    payee: Pubkey
    operator: Pubkey
    signer: Pubkey
    sponsor: Pubkey
    mint: Pubkey


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a settlement names: cumulative base units and units, the voucher that it needs, and who submits it."""

    amount: int
    units: int
    by: Pubkey
    voucher: VoucherDraft | None = None


def opening(arena: Arena, parties: Parties, args: OpenData | OpenWithTermsData, wallet: Pubkey) -> Draft:
    """Opens a session with the deposit from this wallet; a stock opening takes its payee for operator."""
    at, program = parties, arena.mints[parties.mint].id
    session = session_address(SessionSeeds(at.payer, at.payee, at.mint, at.signer, args.salt, args.open_slot))[0]
    if isinstance(args, OpenWithTermsData):
        people = [at.payer, at.sponsor, at.payee, at.operator, at.mint, at.signer]
        return Draft(args, [*people, session, wallet, vault_address(session)[0], program, SYSTEM_PROGRAM_ID])
    people = [at.payer, at.sponsor, at.payee, at.mint, at.signer]
    tokens = [session, wallet, ata_address(session, at.mint, program), program]
    fixed = [SYSTEM_PROGRAM_ID, RENT_SYSVAR_ID, ATA_PROGRAM_ID, EVENT_AUTHORITY, PROGRAM_ID]
    return Draft(args, [*people, *tokens, *fixed])


def top_up(arena: Arena, address: Pubkey, session: SessionAccount, amount: int, wallet: Pubkey) -> Draft:
    """The payer adds to the deposit from this wallet."""
    tokens = [wallet, session.escrow, session.mint, arena.mints[session.mint].id]
    return Draft(TopUpData(amount), [session.payer, address, *tokens])


def settle(arena: Arena, address: Pubkey, session: SessionAccount, claim: Claim, wallet: Pubkey) -> Draft:
    """The payee is paid into this wallet."""
    tokens = [session.escrow, wallet, *_mint_and_program(arena, session)]
    data = SettleData(claim.amount, claim.units, session.opened_at)
    return Draft(data, [claim.by, address, *tokens, _sysvar(session)], claim.voucher)


def close(
    arena: Arena,
    address: Pubkey,
    session: SessionAccount,
    claim: Claim,
    wallets: tuple[Pubkey, Pubkey],
    *,
    usage_root: bytes = bytes(32),
    batch: bool = False,
) -> Draft:
    """The payee is paid and the payer refunded, into these two wallets."""
    tokens = [session.escrow, *wallets, *_mint_and_program(arena, session)]
    data = CloseData(claim.amount, claim.units, session.opened_at, usage_root, batch)
    return Draft(data, [claim.by, session.rent_payer, address, *tokens, _sysvar(session)], claim.voucher)


def request_close(address: Pubkey, session: SessionAccount) -> Draft:
    """The payer asks to close."""
    return Draft(RequestCloseData(), [session.payer, address])


def withdraw(arena: Arena, address: Pubkey, session: SessionAccount, wallet: Pubkey) -> Draft:
    """The payer is refunded into this wallet."""
    tokens = [session.escrow, wallet, *_mint_and_program(arena, session)]
    return Draft(WithdrawData(), [address, session.rent_payer, *tokens])


def _mint_and_program(arena: Arena, session: SessionAccount) -> list[Pubkey]:
    """The mint only where it is needed."""
    program = arena.mints[session.mint].id
    return [PROGRAM_ID if program == TOKEN_PROGRAM_ID else session.mint, program]


def _sysvar(session: SessionAccount) -> Pubkey:
    """The instructions sysvar only where a voucher is read."""
    return PROGRAM_ID if session.authorized_signer == session.operator else INSTRUCTIONS_SYSVAR_ID
