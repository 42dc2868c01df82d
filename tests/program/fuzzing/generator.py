"""Random drafts, most of them almost right, so that they reach the rule that they break."""

import random
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, Final, cast

from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    ATA_PROGRAM_ID,
    INSTRUCTIONS_SYSVAR_ID,
    MAX_EXPIRY_AHEAD,
    MAX_GRACE_PERIOD,
    MIN_GRACE_PERIOD,
    OPEN_SLOT_WINDOW,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
    U64_MAX,
)
from retainer.protocol.instruction_data import (
    CloseData,
    DecodedInstruction,
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
from tests.program.fuzzing.duel import Duel
from tests.program.fuzzing.opening import ata_address, session_address, vault_address

MOST_SESSIONS: Final = 16
REMEMBERED: Final = 24
EVENT_AUTHORITY: Final = derive_event_authority()
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


class Generator:
    """Draws drafts from a seeded source. It looks at the oracle's state, never at the chain."""

    def __init__(self, duel: Duel, rng: random.Random) -> None:
        self._duel = duel
        self._rng = rng
        self._openings: list[Draft] = []
        """Recent openings, to be tried again at the same address."""
        self._past: list[tuple[Pubkey, SessionAccount]] = []
        """Sessions that may be gone."""

    @property
    def _arena(self) -> Arena:
        return self._duel.arena

    def drafts(self) -> list[Draft]:
        """One transaction: a draft, or two; three in ten of them bent."""
        count = 2 if self._rng.random() < 0.08 else 1
        drafts = [self._draft() for _ in range(count)]
        return [self._bend(draft) if self._rng.random() < 0.35 else draft for draft in drafts]

    def _draft(self) -> Draft:
        rng = self._rng
        live = self._arena.state.sessions
        if not live or (rng.random() < 0.15 and len(live) < MOST_SESSIONS):
            return self._opening()
        address, session = self._session()
        kinds: tuple[Callable[[Pubkey, SessionAccount], Draft], ...] = (
            self._top_up,
            self._settle,
            self._close,
            self._request_close,
            self._withdraw,
        )
        (kind,) = rng.choices(kinds, weights=(20, 35, 12, 10, 23))
        return kind(address, session)

    def _session(self) -> tuple[Pubkey, SessionAccount]:
        """A session that lives, mostly."""
        live = self._arena.state.sessions
        if self._past and self._rng.random() < 0.05:
            return self._rng.choice(self._past)
        address = self._rng.choice(list(live))
        session = live[address]
        assert session is not None
        self._past = [*self._past[-REMEMBERED:], (address, session)] if self._rng.random() < 0.1 else self._past
        return address, session

    def _opening(self) -> Draft:
        rng, cast, state = self._rng, self._arena.cast, self._arena.state
        if self._openings and rng.random() < 0.15:
            return rng.choice(self._openings)
        terms, metered = rng.random() < 0.6, rng.random() < 0.5
        payer, payee, mint = rng.choice(cast.payers), rng.choice(cast.payees), rng.choice(list(self._arena.mints))
        operator = rng.choice(cast.operators) if terms else payee
        signer = operator if metered else rng.choice(list(cast.signers))
        sponsor = rng.choice((payer, *cast.sponsors))
        salt, slot = (
            rng.randrange(3),
            state.slot - rng.choice((0, 0, 1, OPEN_SLOT_WINDOW, rng.randrange(OPEN_SLOT_WINDOW))),
        )
        seeds = SessionSeeds(payer, payee, mint, signer, salt, slot)
        session, program = session_address(seeds)[0], self._arena.mints[mint].id
        price = rng.choice((0, 1, 7, 8_000))
        deposit = max(1, price) * rng.choice((1, 2, 125, 10_000)) + rng.choice((0, 0, 1))
        grace = rng.choice(
            (MIN_GRACE_PERIOD, 3_600, MAX_GRACE_PERIOD, rng.randrange(MIN_GRACE_PERIOD, MAX_GRACE_PERIOD))
        )
        wallet = rng.choice(self._arena.wallets[payer, mint])
        args: DecodedInstruction
        if terms:
            expiry = rng.choice((0, state.now + 1, state.now + rng.randrange(1, MAX_EXPIRY_AHEAD), state.now + 900))
            args = OpenWithTermsData(salt, deposit, grace, slot, price, expiry, rng.randbytes(32), rng.random() < 0.5)
            accounts = [payer, sponsor, payee, operator, mint, signer, session, wallet]
            accounts += [vault_address(session)[0], program, SYSTEM_PROGRAM_ID]
        else:
            args = OpenData(salt, deposit, grace, slot)
            accounts = [payer, sponsor, payee, mint, signer, session, wallet, ata_address(session, mint, program)]
            accounts += [program, SYSTEM_PROGRAM_ID, RENT_SYSVAR_ID, ATA_PROGRAM_ID, EVENT_AUTHORITY, PROGRAM_ID]
        draft = Draft(args, accounts)
        self._openings = [*self._openings[-REMEMBERED:], draft]
        return draft

    def _top_up(self, address: Pubkey, session: SessionAccount) -> Draft:
        amount = self._rng.choice((1, 8_000, 1_000_000, self._rng.randrange(1, 10**9)))
        wallet, program = self._wallet(session.payer, session.mint), self._arena.mints[session.mint].id
        return Draft(TopUpData(amount), [session.payer, address, wallet, session.escrow, session.mint, program])

    def _settle(self, address: Pubkey, session: SessionAccount) -> Draft:
        amount, units, voucher, by = self._claim(address, session)
        wallet, program = self._wallet(session.payee, session.mint), self._arena.mints[session.mint].id
        accounts = [by, address, session.escrow, wallet, session.mint, program, INSTRUCTIONS_SYSVAR_ID]
        return Draft(SettleData(amount, units, session.opened_at), accounts, voucher)

    def _close(self, address: Pubkey, session: SessionAccount) -> Draft:
        amount, units, voucher, by = self._claim(address, session)
        to_payee, to_payer = self._wallet(session.payee, session.mint), self._wallet(session.payer, session.mint)
        program = self._arena.mints[session.mint].id
        accounts = [by, session.rent_payer, address, session.escrow, to_payee, to_payer, session.mint, program]
        data = CloseData(amount, units, session.opened_at, self._rng.randbytes(32), self._rng.random() < 0.5)
        return Draft(data, [*accounts, INSTRUCTIONS_SYSVAR_ID], voucher)

    def _claim(self, address: Pubkey, session: SessionAccount) -> tuple[int, int, VoucherDraft | None, Pubkey]:
        """A fitting amount with its units, the voucher that it needs, and who submits it."""
        rng, price = self._rng, session.price_per_unit
        amount = rng.choice((session.settled, rng.randint(session.settled, session.deposit), session.deposit))
        units = min(session.charged_units + rng.randrange(3), U64_MAX)
        if price:
            units = amount // price
            amount = max(units * price, session.settled)
        voucher = None
        if session.authorized_signer in self._arena.cast.signers and rng.random() < 0.9:
            key = self._arena.cast.signers[session.authorized_signer]
            cumulative = rng.choice((amount, amount, session.deposit, rng.randint(amount, session.deposit)))
            expiry = rng.choice((0, 0, self._arena.state.now + 1, self._arena.state.now + 600))
            voucher = VoucherDraft(key, address, cumulative, expiry)
        return amount, units, voucher, rng.choice((session.operator, session.operator, session.payee))

    def _request_close(self, address: Pubkey, session: SessionAccount) -> Draft:
        return Draft(RequestCloseData(), [session.payer, address])

    def _withdraw(self, address: Pubkey, session: SessionAccount) -> Draft:
        wallet, program = self._wallet(session.payer, session.mint), self._arena.mints[session.mint].id
        return Draft(WithdrawData(), [address, session.rent_payer, session.escrow, wallet, session.mint, program])

    def _wallet(self, owner: Pubkey, mint: Pubkey) -> Pubkey:
        known = self._arena.wallets.get((owner, mint))
        return self._rng.choice(known) if known else self._rng.choice(self._arena.cast.people)

    # --- bending -----------------------------------------------------------------------------------------------------

    def _bend(self, draft: Draft) -> Draft:
        bends = (self._other_account, self._alias, self._number, self._number, self._flag, self._byte, self._voucher)
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
        bent: tuple[VoucherDraft | None, ...] = (
            None,
            replace(voucher, key=rng.choice(list(self._arena.cast.signers.values()))),
            replace(voucher, session=self._anything()),
            replace(voucher, cumulative=max(0, voucher.cumulative - rng.choice((1, 8_000)))),
            replace(voucher, cumulative=min(U64_MAX, voucher.cumulative + rng.choice((1, 10**12)))),
            replace(voucher, expires_at=rng.choice((now, now - 1, now + 1, -1))),
            replace(voucher, canonical=False),
        )
        return replace(draft, voucher=rng.choice(bent))


def _with(args: Any, name: str, value: int) -> DecodedInstruction:  # noqa: ANN401 - a field of any of the seven
    return cast(DecodedInstruction, replace(args, **{name: value}))


LIMITS: Final = {
    "grace_period": (0, 2**32 - 1),
    "opened_at": (-(2**63), 2**63 - 1),
    "expires_at": (-(2**63), 2**63 - 1),
}
"""The range of what fits a field that is no u64."""
