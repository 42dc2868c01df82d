"""One thing wrong with a draft: an account, a number, a flag, a byte, or its voucher."""

import random
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final, cast

from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    ATA_PROGRAM_ID,
    INSTRUCTIONS_SYSVAR_ID,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
    U64_MAX,
)
from retainer.protocol.instruction_data import DecodedInstruction
from tests.program.fuzzing.arena import Arena
from tests.program.fuzzing.drafts import Draft, VoucherDraft
from tests.program.fuzzing.honest import EVENT_AUTHORITY

PROGRAMS: Final = (
    ATA_PROGRAM_ID,
    INSTRUCTIONS_SYSVAR_ID,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
    EVENT_AUTHORITY,
)
EXTREMES: Final = (0, 1, U64_MAX, U64_MAX - 1, 2**63, 2**32)
LIMITS: Final = {
    "grace_period": (0, 2**32 - 1),
    "opened_at": (-(2**63), 2**63 - 1),
    "expires_at": (-(2**63), 2**63 - 1),
}
"""The range of what fits a field that is no u64."""


class Bender:
    """Bends drafts at random."""

    def __init__(self, arena: Arena, rng: random.Random) -> None:
        self._arena = arena
        self._rng = rng

    def bend(self, draft: Draft) -> Draft:
        """The draft with one thing wrong, mostly."""
        bends = (
            self._other_account,
            self._alias,
            self._optional,
            self._number,
            self._number,
            self._flag,
            self._byte,
            self._voucher,
        )
        return self._rng.choice(bends)(draft)

    def _other_account(self, draft: Draft) -> Draft:
        """Any account of the arena in any slot."""
        at = self._rng.randrange(len(draft.accounts))
        accounts = [*draft.accounts]
        accounts[at] = self._anything()
        return self._only_people_sign(replace(draft, accounts=accounts))

    def _alias(self, draft: Draft) -> Draft:
        """One slot's account in another slot as well, or both swapped."""
        into, source = self._rng.randrange(len(draft.accounts)), self._rng.randrange(len(draft.accounts))
        accounts = [*draft.accounts]
        if self._rng.random() < 0.5:
            accounts[into], accounts[source] = accounts[source], accounts[into]
        else:
            accounts[into] = accounts[source]
        return self._only_people_sign(replace(draft, accounts=accounts))

    def _optional(self, draft: Draft) -> Draft:
        """What may be left out named, or left out."""
        slots = [at for at, slot in enumerate(draft.slots) if slot in ("mint", "instructions")]
        if not slots:
            return self._alias(draft)
        at = self._rng.choice(slots)
        named = INSTRUCTIONS_SYSVAR_ID if draft.slots[at] == "instructions" else self._rng.choice([*self._arena.mints])
        accounts = [*draft.accounts]
        accounts[at] = named if accounts[at] == PROGRAM_ID else PROGRAM_ID
        return self._only_people_sign(replace(draft, accounts=accounts))

    def _only_people_sign(self, draft: Draft) -> Draft:
        """Nobody has the key of a program's address, so nothing but people signs."""
        people = set(self._arena.cast.people)
        return replace(draft, unsigned={key for key in draft.accounts if key not in people})

    def _anything(self) -> Pubkey:
        rng, arena = self._rng, self._arena
        pools: tuple[Sequence[Pubkey], ...] = (
            arena.cast.people,
            list(arena.state.tokens),
            list(arena.state.sessions) or arena.cast.people,
            list(arena.mints),
            PROGRAMS,
        )
        return rng.choice(rng.choice(pools))

    def _number(self, draft: Draft) -> Draft:
        """One argument off by one, extreme, or another's."""
        numbers = [field.name for field in fields(draft.args) if isinstance(getattr(draft.args, field.name), int)]
        numbers = [name for name in numbers if name != "batch"]
        if not numbers:
            return self._alias(draft)
        name = self._rng.choice(numbers)
        old = getattr(draft.args, name)
        new = self._rng.choice((old + 1, old - 1, 2 * old, *EXTREMES, self._rng.getrandbits(40)))
        low, high = LIMITS.get(name, (0, U64_MAX))
        return replace(draft, args=_with(draft.args, name, min(max(new, low), high)))

    def _flag(self, draft: Draft) -> Draft:
        """A signature or the right to write missing."""
        at = self._rng.randrange(len(draft.accounts))
        if self._rng.random() < 0.5:
            return replace(draft, unsigned={draft.accounts[at]})
        return replace(draft, readonly={draft.slots[at]})

    def _byte(self, draft: Draft) -> Draft:
        """One byte of the data another, missing, or too many."""
        data = bytearray(draft.instruction().data)
        how = self._rng.randrange(4)
        if how < 2:
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)
        elif how == 2:
            del data[self._rng.randrange(len(data)) :]
        else:
            data += self._rng.randbytes(self._rng.randint(1, 9))
        return replace(draft, data=bytes(data))

    def _voucher(self, draft: Draft) -> Draft:
        """The voucher missing, another's, for another session, too low, too high, expired, or in another shape."""
        rng, voucher = self._rng, draft.voucher
        if voucher is None:
            return self._number(draft)
        now = self._arena.state.now
        signer, key = rng.choice(list(self._arena.cast.signers.items()))
        bent: tuple[VoucherDraft | None, ...] = (
            None,
            replace(voucher, signer=signer, key=key),
            replace(voucher, session=self._anything()),
            replace(voucher, cumulative=max(0, voucher.cumulative - rng.choice((1, 8_000)))),
            replace(voucher, cumulative=min(U64_MAX, voucher.cumulative + rng.choice((1, 10**12)))),
            replace(voucher, expires_at=rng.choice((now, now - 1, now + 1, -1))),
            replace(voucher, canonical=False),
        )
        return replace(draft, voucher=rng.choice(bent))


def _with(args: Any, name: str, value: int) -> DecodedInstruction:  # noqa: ANN401 - a field of any of the seven
    return cast(DecodedInstruction, replace(args, **{name: value}))
