"""Accounts that must never pass for a person's token account, each with the refusal that is due."""

from collections.abc import Iterator

from solders.pubkey import Pubkey

from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Cast
from tests.program.harness.errors import AnchorError, ProgramError, Reason
from tests.program.harness.tokens import AccountState, TokenProgram, token_account


def wrong_token_accounts(
    cast: Cast, honest: Call, slot: str, owner: Pubkey, wrong: ProgramError
) -> list[tuple[Call, Reason]]:
    """The call with all that may stand where a token account of `owner` is due; `wrong` is that slot's own refusal."""
    attacks: list[tuple[Call, Reason]] = []
    for address, reason in _candidates(cast, owner, wrong):
        elsewhere = address in (honest.account(other) for other in honest.slots if other != slot)
        attacks.append((honest.with_account(slot, address), AnchorError.DUPLICATE_WRITABLE if elsewhere else reason))
    return attacks


def _candidates(cast: Cast, owner: Pubkey, wrong: ProgramError) -> Iterator[tuple[Pubkey, ProgramError]]:
    program, mint = cast.run.token, cast.mint
    other_program = next(one for one in TokenProgram if one is not program)
    malformed = ProgramError.TOKEN_ACCOUNT_MALFORMED

    yield cast.stranger_token, wrong
    yield cast.new_wallet(owner, mint=cast.new_mint("other mint")), wrong
    yield cast.escrow, wrong
    yield owner, wrong
    yield mint, malformed
    yield cast.new_mint("another mint"), malformed
    yield cast.world.keypair("nobody").pubkey(), wrong
    yield cast.put_token("look-alike", token_account(other_program, mint, owner, WALLET)), wrong

    frozen = token_account(program, mint, owner, WALLET, state=AccountState.FROZEN)
    yield cast.put_token("frozen", frozen), ProgramError.TOKEN_ACCOUNT_FROZEN
    uninitialized = token_account(program, mint, owner, WALLET, state=AccountState.UNINITIALIZED)
    yield cast.put_token("uninitialized", uninitialized), malformed
    short = cast.put_token("short", token_account(program, mint, owner, WALLET))
    cast.world.edit(short, data=token_account(program, mint, owner, WALLET).data[:164])
    yield short, malformed
