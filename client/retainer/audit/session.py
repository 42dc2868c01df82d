"""What a session comes to: facts that follow from its account, its escrow, its transactions and the clock. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from solders.pubkey import Pubkey

from retainer.audit.findings import Finding, Kind
from retainer.audit.life import End, Life
from retainer.audit.promises import Committed
from retainer.protocol.amounts import requests_left
from retainer.protocol.layouts import TokenAccount
from retainer.protocol.session import ChainStatus, SessionAccount, SessionState, user_state


@dataclass(frozen=True, slots=True)
class Right:
    """Something that somebody may do; ``since`` and ``until`` in Unix seconds, None for now and for ever."""

    who: str
    may: str
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A session as the chain holds it at ``now`` (the chain's Unix seconds), with what its escrow holds."""

    address: Pubkey
    account: SessionAccount
    escrow: TokenAccount | None
    now: int

    @property
    def state(self) -> SessionState:
        """As far as the chain can tell: what is spent and not yet settled stands in the provider's books."""
        account = self.account
        return user_state(account, spent=account.settled, price=account.price_per_unit, now=self.now)

    @property
    def requests_left(self) -> int | None:
        """The most that are left, since what is spent is at least what is settled; None when the price varies."""
        if self.state not in (SessionState.ACTIVE, SessionState.DEPLETED):
            return 0
        return requests_left(self.account.refundable, self.account.price_per_unit)

    @property
    def surplus(self) -> int:
        """What the escrow holds above its fields, in base units; negative where something is missing."""
        return (0 if self.escrow is None else self.escrow.amount) - self.owed

    @property
    def owed(self) -> int:
        """What the escrow must hold by the account's fields."""
        return 0 if self.account.status is ChainStatus.CLOSED else self.account.refundable

    @property
    def committed(self) -> Committed:
        """What was agreed when it was opened."""
        account = self.account
        return Committed(account.payee, account.operator, account.price_per_unit, account.sla_hash)


def rights(standing: Standing) -> Iterator[Right]:
    """Who can do what, and from when: the program's rules applied to this account."""
    account, now = standing.account, standing.now
    deadline = account.deadline()
    if account.status is ChainStatus.CLOSED:
        yield Right("anyone", "send the rent back to who paid it, once no new session can be opened at this address")
        return
    if deadline is None or now < deadline:
        submitters = "payee" if account.operator == account.payee else "operator or payee"
        up_to = "the deposit" if account.authorized_signer == account.operator else "what the agent's voucher says"
        yield Right(submitters, f"settle up to {up_to}, or close: settle and refund", until=deadline)
    if account.status is ChainStatus.OPEN:
        if not account.expires_at or now < account.expires_at:
            yield Right("payer", "top up", until=account.expires_at or None)
        if deadline is None or now < deadline:
            yield Right("payer", "ask to close, which starts the grace period", until=deadline)
    if deadline is not None:
        yield Right("anyone", "withdraw what is not settled, to the payer", since=deadline if now < deadline else None)


def standing_findings(standing: Standing) -> Iterator[Finding]:
    """What is wrong with the account and its escrow, whatever anybody claims."""
    account, escrow = standing.account, standing.escrow
    if escrow is not None and escrow.mint != account.mint:
        yield Finding(Kind.ESCROW, f"the escrow holds {escrow.mint}, and the session is of {account.mint}")
    elif standing.surplus < 0:
        yield Finding(
            Kind.ESCROW,
            f"the escrow holds {standing.owed + standing.surplus}, and the account's fields say {standing.owed}",
        )
    if account.settled > account.deposit:
        yield Finding(Kind.SETTLEMENT, f"{account.settled} is settled of a deposit of {account.deposit}")
    price, units = account.price_per_unit, account.charged_units
    if price and account.settled != units * price:
        yield Finding(
            Kind.SETTLEMENT, f"{units} units at {price} are {units * price}, and {account.settled} is settled"
        )


def life_findings(life: Life) -> Iterator[Finding]:
    """What is wrong with how a session went, by its own transactions alone."""
    if life.end is None or life.end is End.GONE:
        return
    if life.refunded is not None and life.settled + life.refunded < life.deposit:
        missing = life.deposit - life.settled - life.refunded
        yield Finding(Kind.SETTLEMENT, f"of the deposit of {life.deposit}, {missing} went to neither side")
    if life.end is End.CLOSED and life.price_per_unit and life.settled != life.charged_units * life.price_per_unit:
        due = life.charged_units * life.price_per_unit
        yield Finding(
            Kind.SETTLEMENT,
            f"{life.charged_units} units at {life.price_per_unit} are {due}, and {life.settled} was settled",
        )


def life_committed(life: Life) -> Committed | None:
    """What an ended session was opened under; None where its opening was not found."""
    if life.payee is None or life.operator is None or life.price_per_unit is None or life.sla_hash is None:
        return None
    payee, operator = Pubkey.from_string(life.payee), Pubkey.from_string(life.operator)
    return Committed(payee, operator, life.price_per_unit, bytes.fromhex(life.sla_hash))
