"""C31: extensions are an allow-list, read at opening and wherever tokens move, on mints and on token accounts."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Mode, Opening, Run
from tests.program.harness.errors import ProgramError
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import row
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import AccountState, Extension, Tlv, TokenProgram, mint_account, token_account

TOKEN = TokenProgram.TOKEN_2022
KINDS = tuple(Run(mode=mode, token=TOKEN, opening=opening) for mode in Mode for opening in Opening)
every_kind_of_2022 = pytest.mark.parametrize("run", KINDS, ids=str)

SIZES: dict[Extension, int] = {
    Extension.TRANSFER_FEE_CONFIG: 108,
    Extension.TRANSFER_FEE_AMOUNT: 8,
    Extension.MINT_CLOSE_AUTHORITY: 32,
    Extension.CONFIDENTIAL_TRANSFER_MINT: 65,
    Extension.CONFIDENTIAL_TRANSFER_ACCOUNT: 295,
    Extension.DEFAULT_ACCOUNT_STATE: 1,
    Extension.IMMUTABLE_OWNER: 0,
    Extension.MEMO_TRANSFER: 1,
    Extension.NON_TRANSFERABLE: 0,
    Extension.INTEREST_BEARING_CONFIG: 52,
    Extension.CPI_GUARD: 1,
    Extension.PERMANENT_DELEGATE: 32,
    Extension.NON_TRANSFERABLE_ACCOUNT: 0,
    Extension.TRANSFER_HOOK: 64,
    Extension.TRANSFER_HOOK_ACCOUNT: 1,
    Extension.CONFIDENTIAL_TRANSFER_FEE_CONFIG: 129,
    Extension.CONFIDENTIAL_TRANSFER_FEE_AMOUNT: 64,
    Extension.METADATA_POINTER: 64,
    Extension.TOKEN_METADATA: 90,
    Extension.GROUP_POINTER: 64,
    Extension.TOKEN_GROUP: 80,
    Extension.GROUP_MEMBER_POINTER: 64,
    Extension.TOKEN_GROUP_MEMBER: 72,
    Extension.CONFIDENTIAL_MINT_BURN: 196,
    Extension.SCALED_UI_AMOUNT: 56,
    Extension.PAUSABLE: 33,
    Extension.PAUSABLE_ACCOUNT: 0,
}
"""The length of each extension's value, in bytes (metadata varies)."""
UNKNOWN = (28, 99, 65_535)
"""Types that no token program has yet, or that did not exist when this was written."""
ON_MINTS = tuple(Extension(kind) for kind in range(18, 24))
ON_ACCOUNTS = (Extension.IMMUTABLE_OWNER,)


def blank(kind: int) -> Tlv:
    """An extension that is all zero: no authority, no fee, switched off. It is refused for being there."""
    return (kind, bytes(SIZES[Extension(kind)]) if kind in SIZES else bytes(4))


def named(kinds: Sequence[int]) -> list[object]:
    return [pytest.param(kind, id=Extension(kind).name.lower() if kind in SIZES else str(kind)) for kind in kinds]


refused_on_mints = pytest.mark.parametrize("kind", named([k for k in (*SIZES, *UNKNOWN) if k not in ON_MINTS]))
allowed_on_mints = pytest.mark.parametrize("kind", named(ON_MINTS))
refused_on_accounts = pytest.mark.parametrize("kind", named([k for k in (*SIZES, *UNKNOWN) if k not in ON_ACCOUNTS]))


@row("C31", "open with a mint that carries the extension", twin="a mint without it")
@row("C32", "a mint that can be closed and made again with other decimals", twin="a mint that cannot")
@refused_on_mints
@pytest.mark.parametrize("opening", Opening)
def test_a_mint_with_the_extension_opens_nothing(opening: Opening, kind: int) -> None:
    run = Run(token=TOKEN, opening=opening)
    bad, good = Stage(replace(run, mint_extensions=[blank(kind)])), Stage(run)
    assert bad.world is not good.world
    twin = Stage(run, world=bad.world, cast="honest ")
    twin.mint = twin.new_mint("plain mint")
    twin.payer_token = twin.new_wallet(twin.payer.pubkey())
    refused(bad.world, bad.open(), ProgramError.MINT_EXTENSION_REFUSED, twin=twin.open())


@allowed_on_mints
@every_kind_of_2022
def test_metadata_and_groups_are_welcome_through_a_whole_life(run: Run, kind: int) -> None:
    stage = Stage(replace(run, mint_extensions=[blank(kind)])).opened()
    accepted(stage.world, stage.top_up(8_000))
    accepted(stage.world, stage.settle(80_000))
    accepted(stage.world, stage.close(240_000))
    assert stage.balance(stage.payer_token) == WALLET - 240_000


@every_kind_of_2022
def test_all_welcome_extensions_together_and_a_bad_one_behind_them(run: Run) -> None:
    welcome = [blank(kind) for kind in ON_MINTS]
    stage = Stage(replace(run, mint_extensions=welcome))
    bad = stage.new_mint("bad behind", extensions=[*welcome, blank(Extension.PERMANENT_DELEGATE)])
    attack = stage.open(mint=bad, payer_token=stage.new_wallet(stage.payer.pubkey(), mint=bad))
    refused(stage.world, attack, ProgramError.MINT_EXTENSION_REFUSED, twin=stage.open())


@row(
    "C31",
    "the payee's token account carries the extension, switched on mid-session",
    twin="another account of the payee's",
)
@refused_on_accounts
@every_kind_of_2022
def test_a_payees_account_with_the_extension_is_not_paid(run: Run, kind: int) -> None:
    stage = Stage(run).opened()
    plain = stage.payee_token
    bad = token_account(TOKEN, stage.mint, stage.payee.pubkey(), WALLET, extensions=[blank(kind)])
    address = stage.put_token("extended", bad)
    attacks = [
        (pay(payee_token=address), ProgramError.ACCOUNT_EXTENSION_REFUSED) for pay in (stage.settle, stage.close)
    ]
    each_refused(stage.world, attacks, twin=stage.close(payee_token=plain))


@row("C31", "the payer's token account carries the extension", twin="another account of the payer's")
@refused_on_accounts
@every_kind_of_2022
def test_a_payers_account_with_the_extension_neither_pays_nor_is_refunded(run: Run, kind: int) -> None:
    stage = Stage(run)
    plain = stage.payer_token
    bad = token_account(TOKEN, stage.mint, stage.payer.pubkey(), WALLET, extensions=[blank(kind)])
    address = stage.put_token("extended", bad)
    why = ProgramError.ACCOUNT_EXTENSION_REFUSED
    refused(stage.world, stage.open(payer_token=address), why, twin=stage.open())
    attacks = [
        (stage.top_up().with_account("payer_token", address), why),
        (stage.close(payer_token=address), why),
    ]
    each_refused(stage.world, attacks, twin=stage.request_close())
    stage.world.warp(seconds=run.grace)
    attack, honest = stage.withdraw(payer_token=address), stage.withdraw(payer_token=plain)
    refused(stage.world, attack, why, twin=honest)


@every_kind_of_2022
def test_an_immutable_owner_is_welcome_everywhere(run: Run) -> None:
    stage = Stage(run)
    for person, token in ((stage.payer, stage.payer_token), (stage.payee, stage.payee_token)):
        extensions = [blank(Extension.IMMUTABLE_OWNER)]
        stage.world.put(token, token_account(TOKEN, stage.mint, person.pubkey(), WALLET, extensions=extensions))
    stage.opened()
    accepted(stage.world, stage.top_up(8_000))
    accepted(stage.world, stage.settle(80_000))
    accepted(stage.world, stage.close(240_000))
    assert stage.balance(stage.payee_token) == WALLET + 240_000


@row("C31", "a bricked recipient holds the refund back", twin="the payer withdraws without it")
@every_kind_of_2022
def test_a_payee_that_cannot_be_paid_does_not_block_the_refund(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.request_close())
    memo = [(Extension.MEMO_TRANSFER, b"\x01")]
    bad = token_account(TOKEN, stage.mint, stage.payee.pubkey(), WALLET, extensions=memo)
    stage.world.put(stage.payee_token, bad)

    def after_the_deadline() -> Call:
        stage.world.warp(seconds=run.grace)
        return stage.withdraw()

    refused(stage.world, stage.close(), ProgramError.ACCOUNT_EXTENSION_REFUSED, twin=after_the_deadline)
    assert stage.balance(stage.payer_token) == WALLET


TAILS: dict[str, tuple[bytes, ProgramError]] = {
    "half a length": (b"\x07\x00\x00", ProgramError.EXTENSIONS_MALFORMED),
    "no length": (b"\x07\x00", ProgramError.EXTENSIONS_MALFORMED),
    "value cut off": (b"\x07\x00\x04\x00abc", ProgramError.EXTENSIONS_MALFORMED),
    "longer than any account": (b"\x07\x00\xff\xff", ProgramError.EXTENSIONS_MALFORMED),
    "bad one behind a good one": (b"\x07\x00\x00\x00\x08\x00\x01\x00\x01", ProgramError.ACCOUNT_EXTENSION_REFUSED),
}
"""Bytes after the account type of a token account, and what is due."""


@row("C31", "extension areas that are cut off, overlong, or hide a second extension", twin="a well-formed account")
@pytest.mark.parametrize("tail", TAILS)
@every_kind_of_2022
def test_a_malformed_extension_area_is_refused_by_name(run: Run, tail: str) -> None:
    area, why = TAILS[tail]
    stage = Stage(run).opened()
    bad = token_account(TOKEN, stage.mint, stage.payee.pubkey(), WALLET, tail=b"\x02" + area)
    refused(stage.world, stage.close(payee_token=stage.put_token("malformed", bad)), why, twin=stage.close())


@row("C04", "a mint, a multisig or an uninitialized account posing as a token account", twin="a token account")
@every_kind_of_2022
def test_other_accounts_of_token_2022_do_not_pose_as_a_token_account(run: Run) -> None:
    stage = Stage(run).opened()
    base = token_account(TOKEN, stage.mint, stage.payee.pubkey(), WALLET)
    tails = {"mint": b"\x01", "uninitialized": b"\x00", "multisig": b"\x02" + bytes(355 - 166)}
    attacks = []
    for name, tail in tails.items():
        address = stage.put_token(name, token_account(TOKEN, stage.mint, stage.payee.pubkey(), WALLET, tail=tail))
        attacks.append((stage.close(payee_token=address), ProgramError.TOKEN_ACCOUNT_MALFORMED))
    each_refused(stage.world, attacks, twin=stage.close(payee_token=stage.put_token("base", base)))


@row("C04", "something else posing as a mint", twin="a mint")
@pytest.mark.parametrize("opening", Opening)
def test_other_accounts_of_token_2022_do_not_pose_as_a_mint(opening: Opening) -> None:
    stage = Stage(Run(token=TOKEN, opening=opening))
    tails: dict[str, tuple[bytes, ProgramError]] = {
        "account": (bytes(83) + b"\x02", ProgramError.WRONG_MINT),
        "no type": (bytes(83) + b"\x00", ProgramError.WRONG_MINT),
        "short padding": (bytes(40), ProgramError.WRONG_MINT),
        "multisig": (bytes(83) + b"\x01" + bytes(355 - 166), ProgramError.WRONG_MINT),
        "cut off": (bytes(83) + b"\x01" + b"\x12\x00\x40\x00", ProgramError.EXTENSIONS_MALFORMED),
    }
    attacks = []
    for name, (tail, why) in tails.items():
        mint = stage.world.put(stage.world.keypair(name).pubkey(), mint_account(TOKEN, tail=tail))
        wallet = stage.new_wallet(stage.payer.pubkey(), mint=mint)
        attacks.append((stage.open(mint=mint, payer_token=wallet), why))
    each_refused(stage.world, attacks, twin=stage.open())


@row("C34", "the freeze authority freezes the escrow", twin="after the thaw")
@pytest.mark.parametrize("token", TokenProgram)
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("opening", Opening)
def test_a_frozen_escrow_loses_nothing_and_works_after_the_thaw(
    opening: Opening, mode: Mode, token: TokenProgram
) -> None:
    stage = Stage(Run(opening=opening, mode=mode, token=token)).opened()
    accepted(stage.world, stage.request_close())
    thawed = stage.world.get(stage.escrow)
    assert thawed is not None
    frozen = thawed.data[:108] + bytes([AccountState.FROZEN]) + thawed.data[109:]
    stage.world.edit(stage.escrow, data=frozen)

    def after_the_thaw() -> Call:
        stage.world.edit(stage.escrow, data=thawed.data)
        return stage.settle()

    attacks = [(call, ProgramError.TOKEN_ACCOUNT_FROZEN) for call in (stage.settle(), stage.close())]
    each_refused(stage.world, attacks, twin=after_the_thaw)
    stage.world.warp(seconds=stage.run.grace)
    settled = stage.world.get(stage.escrow)
    assert settled is not None
    stage.world.edit(stage.escrow, data=settled.data[:108] + bytes([AccountState.FROZEN]) + settled.data[109:])

    def withdraw_after_the_thaw() -> Call:
        stage.world.edit(stage.escrow, data=settled.data)
        return stage.withdraw()

    refused(stage.world, stage.withdraw(), ProgramError.TOKEN_ACCOUNT_FROZEN, twin=withdraw_after_the_thaw)
    assert stage.balance(stage.payer_token) == WALLET - 240_000
