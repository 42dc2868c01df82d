"""The state that the oracle keeps beside the chain: who holds what, and every session, as values that are replaced."""

import struct
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from solders.pubkey import Pubkey

from retainer.protocol.instruction_data import DecodedInstruction
from retainer.protocol.layouts import SESSION_LEN
from retainer.protocol.session import SessionAccount

T = TypeVar("T")

_SESSION: Final = struct.Struct("<8s5B3x32s32s32s32s32s32s32sQQQQQI4xqqQq32s")
"""The account layout of ADR 001, read a second time: the kernel's own reading is too slow for every step."""
_DISCRIMINATOR: Final = bytes.fromhex("f3514873d6bc4890")


@dataclass(frozen=True, slots=True)
class Token:
    """A token account of one of the two programs. `amount` in base units."""

    program: Pubkey
    mint: Pubkey
    owner: Pubkey
    amount: int
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The voucher that stands directly before an instruction."""

    canonical: bool
    signer: Pubkey
    session: Pubkey
    cumulative: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One instruction as the runtime hands it over; `args` is None when the data is no instruction at all."""

    name: str
    args: DecodedInstruction | None
    accounts: dict[str, Pubkey]
    signed: frozenset[Pubkey]
    writable: frozenset[Pubkey]
    voucher: Seen | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """Base units that a session took in, paid to the payee, and refunded to the payer (with what strangers sent)."""

    session: Pubkey
    paid_in: int = 0
    paid_out: int = 0
    refunded: int = 0


@dataclass(slots=True)
class State:
    """All that the rules look at. `mints` maps to their token program; None stands for what was removed."""

    now: int
    slot: int
    mints: dict[Pubkey, Pubkey]
    tokens: MutableMapping[Pubkey, Token | None] = field(default_factory=dict)
    sessions: MutableMapping[Pubkey, SessionAccount | None] = field(default_factory=dict)
    flows: list[Flow] = field(default_factory=list)

    def fork(self) -> "State":
        """An overlay whose changes stay its own."""
        tokens, sessions = ChainMap({}, self.tokens), ChainMap({}, self.sessions)
        return State(self.now, self.slot, self.mints, tokens, sessions)

    def changed(self) -> tuple[dict[Pubkey, Token | None], dict[Pubkey, SessionAccount | None]]:
        """What a fork changed."""
        assert isinstance(self.tokens, ChainMap)
        assert isinstance(self.sessions, ChainMap)
        return dict(self.tokens.maps[0]), dict(self.sessions.maps[0])

    def adopt(self, fork: "State") -> None:
        """Makes a fork's changes its own; what was removed is forgotten."""
        tokens, sessions = fork.changed()
        _merge(self.tokens, tokens)
        _merge(self.sessions, sessions)

    def add(self, address: Pubkey, amount: int) -> None:
        """Credits (or debits) a token account that exists."""
        token = self.tokens[address]
        assert token is not None
        self.tokens[address] = Token(token.program, token.mint, token.owner, token.amount + amount, token.frozen)


def _merge(own: MutableMapping[Pubkey, T | None], changed: Mapping[Pubkey, T | None]) -> None:
    for key, value in changed.items():
        if value is None and isinstance(own, dict):
            own.pop(key, None)
        else:
            own[key] = value


def session_bytes(session: SessionAccount) -> bytes:
    """The bytes that the chain must hold for a session."""
    data = _SESSION.pack(
        _DISCRIMINATOR,
        session.version,
        session.bump,
        session.status,
        session.escrow_kind,
        session.decimals,
        *(
            bytes(key)
            for key in (
                session.payer,
                session.payee,
                session.operator,
                session.authorized_signer,
                session.rent_payer,
                session.mint,
                session.escrow,
            )
        ),
        session.salt,
        session.open_slot,
        session.deposit,
        session.settled,
        session.charged_units,
        session.grace_period,
        session.opened_at,
        session.closure_started_at,
        session.price_per_unit,
        session.expires_at,
        session.sla_hash,
    )
    assert len(data) == SESSION_LEN
    return data
