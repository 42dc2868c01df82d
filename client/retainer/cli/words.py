"""Sessions in words, for people who read a terminal."""

from datetime import UTC, datetime

from retainer.channels.channel import Settlement
from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.events import SessionOpened
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount, VoucherSigner
from retainer.protocol.sla import NO_TERMS_HASH
from retainer.protocol.views import SessionView

_WIDTH = 16


def session_words(view: SessionView) -> str:
    """A session of this client in two lines."""

    def shown(units: int) -> str:
        return format_amount(units, view.token.decimals)

    if view.refund is not None and view.settled is not None:
        signature = view.settlement_signature
        ending = f"transaction {signature}" if signature else "nothing was left to send back"
        money = f"settled {shown(view.settled)} · refunded {shown(view.refund)} · {ending}"
    else:
        left = (
            "" if view.requests_left is None else f" ({view.requests_left} requests at {shown(view.price_per_request)})"
        )
        money = f"{shown(view.remaining)} of {shown(view.deposit)} left{left}"
    held = "" if view.anchor_on_chain else "\n  custodial: the provider holds the money"
    dispute = f"\n  in dispute: {view.metadata['dispute']}" if "dispute" in view.metadata else ""
    return f"{view.session_id}\n  {view.state} · {money} · {view.metadata['resource']}{held}{dispute}"


def account_words(address: str, session: SessionAccount, now: int) -> str:
    """A session account, field by field; ``now`` is the chain's time."""

    def shown(units: int) -> str:
        return format_amount(units, session.decimals)

    metered = session.voucher_signer is VoucherSigner.OPERATOR
    deadline = session.deadline()
    held = "the program's own vault" if session.escrow_kind is EscrowKind.VAULT else "an associated token account"
    facts = {
        "session": address,
        "status": _status(session, now),
        "payer": str(session.payer),
        "payee": str(session.payee),
        "operator": f"{session.operator}, who may settle and close",
        "mode": "metered: the operator names the amount"
        if metered
        else f"vouchers signed by {session.authorized_signer}",
        "token": f"{session.mint}, {session.decimals} decimals",
        "deposit": f"{shown(session.deposit)}, held in {held} at {session.escrow}",
        "settled": f"{shown(session.settled)} so far; {shown(session.refundable)} would go back",
        "price": f"{shown(session.price_per_unit)} for each request" if session.price_per_unit else "varies",
        "opened": moment(session.opened_at),
        "expires": moment(session.expires_at) if session.expires_at else "never",
        "grace period": f"{session.grace_period} s",
        "withdrawable": f"by the payer, from {moment(deadline)} on"
        if deadline
        else "once the payer has asked to close",
        "SLA": "no terms" if session.sla_hash == NO_TERMS_HASH else f"terms with hash {session.sla_hash.hex()}",
    }
    return "\n".join(f"{name:{_WIDTH}}{fact}" for name, fact in facts.items())


def ended_words(address: str, opened: SessionOpened, settlement: Settlement, decimals: int) -> str:
    """A session that is gone, as its first and last transactions tell it."""
    facts = {
        "session": address,
        "status": "gone: settled and refunded",
        "payer": str(opened.payer),
        "payee": str(opened.payee),
        "token": f"{opened.mint}, {decimals} decimals",
        "opened": moment(opened.opened_at),
        "settled": format_amount(settlement.settled, decimals),
        "refunded": format_amount(settlement.refunded, decimals),
        "transaction": settlement.signature,
    }
    return "\n".join(f"{name:{_WIDTH}}{fact}" for name, fact in facts.items())


def account_json(address: str, session: SessionAccount) -> dict[str, Json]:
    """A session account as JSON; amounts as decimal strings of base units."""
    keys = ("payer", "payee", "operator", "authorized_signer", "rent_payer", "mint", "escrow")
    amounts = ("salt", "open_slot", "deposit", "settled", "charged_units", "price_per_unit")
    numbers = ("version", "decimals", "grace_period", "opened_at", "closure_started_at", "expires_at")
    return {
        "session": address,
        "status": session.status.name.lower(),
        "escrow_kind": session.escrow_kind.name.lower(),
        "voucher_signer": str(session.voucher_signer),
        **{name: str(getattr(session, name)) for name in (*keys, *amounts)},
        **{name: int(getattr(session, name)) for name in numbers},
        "deadline": session.deadline(),
        "sla_hash": session.sla_hash.hex(),
    }


def ended_json(address: str, opened: SessionOpened, settlement: Settlement) -> dict[str, Json]:
    """A session that is gone, as JSON; amounts as decimal strings of base units."""
    return {
        "session": address,
        "status": "gone",
        "payer": str(opened.payer),
        "payee": str(opened.payee),
        "mint": str(opened.mint),
        "opened_at": opened.opened_at,
        "settled": str(settlement.settled),
        "refunded": str(settlement.refunded),
        "settlement_signature": settlement.signature,
    }


def moment(unix_seconds: int) -> str:
    """A time in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _status(session: SessionAccount, now: int) -> str:
    if session.status is ChainStatus.CLOSED:
        return "closed: all paid out, only its rent is left"
    if session.status is ChainStatus.CLOSING:
        return f"closing: the payer asked for it at {moment(session.closure_started_at)}"
    if session.expires_at and now >= session.expires_at:
        return "open, and expired"
    return "open"
