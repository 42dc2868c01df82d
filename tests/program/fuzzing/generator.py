"""Random drafts, most of them almost right, so that they reach the rule that they break."""

import random
from collections.abc import Callable
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    MAX_EXPIRY_AHEAD,
    MAX_GRACE_PERIOD,
    MIN_GRACE_PERIOD,
    OPEN_SLOT_WINDOW,
    U64_MAX,
)
from retainer.protocol.instruction_data import OpenData, OpenWithTermsData
from retainer.protocol.session import ChainStatus, SessionAccount
from tests.program.fuzzing import honest
from tests.program.fuzzing.arena import Arena
from tests.program.fuzzing.bending import Bender
from tests.program.fuzzing.drafts import Draft, VoucherDraft
from tests.program.fuzzing.duel import Duel
from tests.program.fuzzing.honest import Claim, Parties
from tests.program.fuzzing.living import deadline_reached

MOST_SESSIONS: Final = 16
REMEMBERED: Final = 24


class Generator:
    """Draws drafts from a seeded source. It looks at the oracle's state, never at the chain."""

    def __init__(self, duel: Duel, rng: random.Random) -> None:
        self._duel = duel
        self._rng = rng
        self._openings: list[Draft] = []
        """Recent openings, to be tried again at the same address."""
        self._past: list[tuple[Pubkey, SessionAccount]] = []
        """Sessions that may be gone."""
        self._bender = Bender(duel.arena, rng)

    @property
    def _arena(self) -> Arena:
        return self._duel.arena

    def drafts(self) -> list[Draft]:
        """One transaction: a draft, or two; three in ten of them bent."""
        count = 2 if self._rng.random() < 0.08 else 1
        drafts = [self._draft() for _ in range(count)]
        return [self._bender.bend(draft) if self._rng.random() < 0.35 else draft for draft in drafts]

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
        (kind,) = rng.choices(kinds, weights=self._weights(session))
        return kind(address, session)

    def _weights(self, session: SessionAccount) -> tuple[int, ...]:
        """How often each instruction is drawn: mostly one that the session's status admits."""
        if session.status is ChainStatus.CLOSED or deadline_reached(session, self._arena.state.now):
            return (4, 12, 6, 4, 74)
        if session.status is ChainStatus.CLOSING:
            return (4, 60, 20, 4, 12)
        return (24, 48, 12, 8, 8)

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
        rng = self._rng
        if self._openings and rng.random() < 0.15:
            return rng.choice(self._openings)
        cast, terms, metered = self._arena.cast, rng.random() < 0.6, rng.random() < 0.5
        payer, payee = rng.choice(cast.payers), rng.choice(cast.payees)
        operator = rng.choice(cast.operators) if terms else payee
        parties = Parties(
            payer=payer,
            payee=payee,
            operator=operator,
            signer=operator if metered else rng.choice(list(cast.signers)),
            sponsor=rng.choice((payer, *cast.sponsors)),
            mint=rng.choice(list(self._arena.mints)),
        )
        wallet = rng.choice(self._arena.wallets[payer, parties.mint])
        draft = honest.opening(self._arena, parties, self._terms() if terms else self._no_terms(), wallet)
        self._openings = [*self._openings[-REMEMBERED:], draft]
        return draft

    def _no_terms(self) -> OpenData:
        rng = self._rng
        age = rng.choice((0, 0, 1, OPEN_SLOT_WINDOW, rng.randrange(OPEN_SLOT_WINDOW)))
        grace = rng.choice(
            (MIN_GRACE_PERIOD, 3_600, MAX_GRACE_PERIOD, rng.randrange(MIN_GRACE_PERIOD, MAX_GRACE_PERIOD))
        )
        deposit = rng.choice((1, 7, 8_000)) * rng.choice((1, 125, 10_000)) + rng.choice((0, 0, 1))
        return OpenData(rng.randrange(3), deposit, grace, self._arena.state.slot - age)

    def _terms(self) -> OpenWithTermsData:
        rng, stock, now = self._rng, self._no_terms(), self._arena.state.now
        return OpenWithTermsData(
            salt=stock.salt,
            deposit=stock.deposit,
            grace_period=stock.grace_period,
            open_slot=stock.open_slot,
            price_per_unit=rng.choice((0, 1, 7, 8_000, stock.deposit)),
            expires_at=rng.choice((0, now + 1, now + rng.randrange(1, MAX_EXPIRY_AHEAD), now + 900)),
            sla_hash=rng.randbytes(32),
            batch=rng.random() < 0.5,
        )

    def _top_up(self, address: Pubkey, session: SessionAccount) -> Draft:
        amount = self._rng.choice((1, 8_000, 1_000_000, self._rng.randrange(1, 10**9)))
        return honest.top_up(self._arena, address, session, amount, self._wallet(session.payer, session.mint))

    def _settle(self, address: Pubkey, session: SessionAccount) -> Draft:
        wallet = self._wallet(session.payee, session.mint)
        return honest.settle(self._arena, address, session, self._claim(address, session), wallet)

    def _close(self, address: Pubkey, session: SessionAccount) -> Draft:
        rng = self._rng
        wallets = self._wallet(session.payee, session.mint), self._wallet(session.payer, session.mint)
        root, batch = rng.randbytes(32), rng.random() < 0.5
        claim = self._claim(address, session)
        return honest.close(self._arena, address, session, claim, wallets, usage_root=root, batch=batch)

    def _request_close(self, address: Pubkey, session: SessionAccount) -> Draft:
        return honest.request_close(address, session)

    def _withdraw(self, address: Pubkey, session: SessionAccount) -> Draft:
        return honest.withdraw(self._arena, address, session, self._wallet(session.payer, session.mint))

    def _claim(self, address: Pubkey, session: SessionAccount) -> Claim:
        """A fitting amount with its units, mostly with the voucher that it needs."""
        rng, price, now = self._rng, session.price_per_unit, self._arena.state.now
        amount = rng.choice((session.settled, rng.randint(session.settled, session.deposit), session.deposit))
        units = min(session.charged_units + rng.randrange(3), U64_MAX)
        if price:
            units = amount // price
            amount = max(units * price, session.settled)
        signer, voucher = session.authorized_signer, None
        if signer in self._arena.cast.signers and rng.random() < 0.9:
            cumulative = rng.choice((amount, amount, session.deposit, rng.randint(amount, session.deposit)))
            expiry = rng.choice((0, 0, now + 1, now + 600))
            voucher = VoucherDraft(signer, self._arena.cast.signers[signer], address, cumulative, expiry)
        by = rng.choice((session.operator, session.operator, session.payee))
        return Claim(amount=amount, units=units, by=by, voucher=voucher)

    def _wallet(self, owner: Pubkey, mint: Pubkey) -> Pubkey:
        known = self._arena.wallets.get((owner, mint))
        return self._rng.choice(known) if known else self._rng.choice(self._arena.cast.people)
