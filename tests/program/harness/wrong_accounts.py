"""Accounts that must never pass for a person's token account, each with the refusal that is due."""

from collections.abc import Iterator
from dataclasses import dataclass

from solders.pubkey import Pubkey
from tests.program.harness.cast import WALLET, Cast
from tests.program.harness.errors import ProgramError
from tests.program.harness.tokens import AccountState, TokenProgram, token_account


@dataclass(frozen=True, slots=True)
class WrongAccount:
    """An account and why it is refused."""

    what: str
    address: Pubkey
    reason: ProgramError


def wrong_token_accounts(cast: Cast, owner: Pubkey, *, wrong: ProgramError) -> Iterator[WrongAccount]:
    """What an attacker may put where a token account of `owner` and the session's mint is due; `wrong` names that slot."""
    program, mint = cast.run.token, cast.mint
    other_mint = cast.new_mint("other mint")
    other_program = next(one for one in TokenProgram if one is not program)

    yield WrongAccount("a stranger's of the right mint", cast.stranger_token, wrong)
    yield WrongAccount("the owner's of another mint", cast.new_wallet(owner, mint=other_mint), wrong)
    yield WrongAccount("the session's own escrow", cast.escrow, wrong)
    yield WrongAccount("one that is not initialized", _put(cast, owner, AccountState.UNINITIALIZED), _MALFORMED)
    yield WrongAccount("a frozen one", _put(cast, owner, AccountState.FROZEN), ProgramError.TOKEN_ACCOUNT_FROZEN)
    yield WrongAccount("one that does not exist", cast.world.keypair("nobody").pubkey(), wrong)
    yield WrongAccount("the owner's own address", owner, wrong)
    yield WrongAccount("the mint", mint, _MALFORMED)
    foreign = token_account(other_program, mint, owner, WALLET)
    yield WrongAccount("another token program's look-alike", cast.put_token("look-alike", foreign), wrong)
    short = token_account(program, mint, owner, WALLET)
    address = cast.put_token("short", short)
    cast.world.edit(address, data=short.data[:164])
    yield WrongAccount("one byte too short", address, _MALFORMED)


_MALFORMED = ProgramError.TOKEN_ACCOUNT_MALFORMED


def _put(cast: Cast, owner: Pubkey, state: AccountState) -> Pubkey:
    return cast.put_token(f"{state.name} account", token_account(cast.run.token, cast.mint, owner, WALLET, state=state))
