"""What happens around the instructions: time passes, strangers send things, wallets are frozen and given away."""

import random
from collections.abc import Callable

from solders.pubkey import Pubkey

from retainer.protocol.session import ChainStatus
from tests.program.fuzzing.duel import Duel
from tests.program.fuzzing.model import Token


def happen(duel: Duel, rng: random.Random) -> None:
    """One event, or none."""
    (event,) = rng.choices((pass_time, send_tokens, freeze, give_away), weights=(60, 15, 15, 10))
    event(duel, rng)


def pass_time(duel: Duel, rng: random.Random) -> None:
    """A little; or to just around some session's deadline or expiry; or past an opening's window of slots."""
    arena, state = duel.arena, duel.arena.state
    moments = [state.now + rng.randrange(120), state.now + rng.randrange(4_000)]
    for session in state.sessions.values():
        if session is not None and session.status is not ChainStatus.CLOSED:
            starts = [start for start in (session.closure_started_at, session.expires_at) if start]
            moments += [start + rng.choice((0, session.grace_period)) + rng.choice((-1, 0, 1)) for start in starts]
    later = [moment for moment in moments if moment >= state.now]
    soon = sorted(later)[: 2 + len(later) // 2]
    arena.jump(now=rng.choice(soon), slot=state.slot + rng.choice((0, 1, rng.randrange(300), 1_501)))


def send_tokens(duel: Duel, rng: random.Random) -> None:
    """A stranger's tokens into an escrow: out of a wallet of its own, so the sum stays."""
    arena, state = duel.arena, duel.arena.state
    open_ones = [one for one in state.sessions.items() if one[1] and one[1].status is not ChainStatus.CLOSED]
    if not open_ones:
        return
    address, session = rng.choice(open_ones)
    assert session is not None
    giver = rng.choice(arena.wallets[arena.cast.fees, session.mint])
    source, escrow = state.tokens[giver], state.tokens[session.escrow]
    assert source is not None
    assert escrow is not None
    gift = min(source.amount, rng.choice((1, 77, 10**6)))
    for key, token, change in ((giver, source, -gift), (session.escrow, escrow, gift)):
        arena.put_token(key, Token(token.program, token.mint, token.owner, token.amount + change, token.frozen))
    duel.give(address, gift)


def freeze(duel: Duel, rng: random.Random) -> None:
    """Someone's wallet is frozen; mostly, one that is frozen is thawed."""
    address, token = _wallet(duel, rng, lambda _, token: token.frozen)
    duel.arena.put_token(address, Token(token.program, token.mint, token.owner, token.amount, not token.frozen))


def give_away(duel: Duel, rng: random.Random) -> None:
    """Someone's wallet gets another owner; mostly, one that was given away is given back."""
    owners = {wallet: owner for (owner, _), wallets in duel.arena.wallets.items() for wallet in wallets}
    address, token = _wallet(duel, rng, lambda address, token: token.owner != owners[address])
    owner = owners[address] if token.owner != owners[address] else rng.choice(duel.arena.cast.people)
    duel.arena.put_token(address, Token(token.program, token.mint, owner, token.amount, token.frozen))


def _wallet(duel: Duel, rng: random.Random, odd: Callable[[Pubkey, Token], bool]) -> tuple[Pubkey, Token]:
    """A wallet: mostly an odd one when there is any, so that most wallets stay usable."""
    every = [wallet for wallets in duel.arena.wallets.values() for wallet in wallets]
    tokens = duel.arena.state.tokens
    odd_ones = [wallet for wallet in every if (token := tokens[wallet]) is not None and odd(wallet, token)]
    address = rng.choice(odd_ones) if odd_ones and rng.random() < 0.8 else rng.choice(every)
    token = tokens[address]
    assert token is not None
    return address, token
