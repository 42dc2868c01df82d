"""What can be saved of a session whose books are lost: the account on chain, and proofs that its agent presents. Pure.

An operator's receipt proves what it had charged; nobody else can make one, and an agent that withholds its newest pays
less, which is the operator's loss for losing its books. Where the agent signs vouchers, the program pays only up to
one, so a receipt needs one beside it. Without proof nothing is taken: the deposit goes back to the payer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.receipts import Receipt, verify_receipt
from retainer.protocol.session import ChainStatus, SessionAccount, VoucherSigner
from retainer.protocol.timestamps import format_timestamp
from retainer.protocol.usage import EMPTY_ROOT
from retainer.protocol.vouchers import SignedVoucher, verify_voucher


class Finding(StrEnum):
    """What becomes of a session."""

    RECOVERED = "recovered"  # settled for what is proven
    UNPROVEN = "unproven"  # nothing proves a charge: refunded at once if asked for, else by expiry or the payer's exit
    CLOSED = "closed"  # settled before; only its rent is left
    TOO_LATE = "too late"  # past the deadline nothing more is settled: anyone can withdraw it to the payer
    CONTRADICTED = "contradicted"  # chain and proof do not fit: for a person to look at


@dataclass(frozen=True, slots=True)
class Proofs:
    """The best that was presented for one session: highest total each."""

    receipt: Receipt | None = None
    voucher: SignedVoucher | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """The finding on one session, in base units; ``why`` is a sentence."""

    session: Pubkey
    account: SessionAccount
    finding: Finding
    why: str
    spent: BaseUnits
    units: int
    sequence: int = 0
    usage_root: bytes = EMPTY_ROOT
    voucher: SignedVoucher | None = None

    @property
    def payer(self) -> Pubkey:
        """To whom the rest belongs."""
        return self.account.payer

    @property
    def deposit(self) -> BaseUnits:
        """All that was paid in."""
        return self.account.deposit

    @property
    def decimals(self) -> int:
        """Of the token."""
        return self.account.decimals

    @property
    def left_to(self) -> str:
        """What becomes of it when nobody does anything, as half a sentence."""
        deadline = self.account.deadline()
        if deadline is None:
            return "refunded once its payer asks the chain to close it"
        return f"refunded from {format_timestamp(deadline)} on"

    @property
    def refundable(self) -> bool:
        """Whether an unproven session can be closed at what is settled; the books want a voucher behind any charge."""
        settled_by_voucher = self.account.settled and self.account.voucher_signer is VoucherSigner.CLIENT
        return self.finding is Finding.UNPROVEN and not settled_by_voucher


def best_proofs(
    receipts: list[Receipt], vouchers: list[SignedVoucher], accounts: Mapping[Pubkey, SessionAccount]
) -> tuple[dict[Pubkey, Proofs], int]:
    """Per session, the highest proofs that are signed by who must have signed them; and how many were worth nothing."""
    best: dict[Pubkey, Proofs] = {}
    worthless = 0
    for receipt in receipts:
        account = accounts.get(receipt.reference)
        if account is None or not verify_receipt(receipt, account.operator):
            worthless += 1
            continue
        kept = best.get(receipt.reference, Proofs())
        if kept.receipt is None or _rank(receipt) > _rank(kept.receipt):
            best[receipt.reference] = Proofs(receipt, kept.voucher)
    for signed in vouchers:
        session = signed.voucher.channel_id
        account = accounts.get(session)
        if account is None or signed.signer != account.authorized_signer or not verify_voucher(signed):
            worthless += 1
            continue
        kept = best.get(session, Proofs())
        if kept.voucher is None or signed.voucher.cumulative > kept.voucher.voucher.cumulative:
            best[session] = Proofs(kept.receipt, signed)
    return best, worthless


def recover(session: Pubkey, account: SessionAccount, proofs: Proofs, now: int) -> Recovery:
    """Judge one session; ``now`` is the chain's time in Unix seconds."""
    judged = _over(account, now) or _charge(account, proofs)
    if isinstance(judged, _Charge):
        metered = judged.receipt.retainer.metered if judged.receipt.retainer else None
        return Recovery(
            session,
            account,
            Finding.RECOVERED,
            judged.why,
            judged.spent,
            judged.units,
            sequence=metered.sequence if metered else 0,
            usage_root=bytes.fromhex(metered.usage_hash) if metered else EMPTY_ROOT,
            voucher=judged.voucher,
        )
    finding, why = judged
    return Recovery(session, account, finding, why, account.settled, account.charged_units)


@dataclass(frozen=True, slots=True)
class _Charge:
    """What may be settled, and why so much."""

    spent: BaseUnits
    units: int
    receipt: Receipt
    voucher: SignedVoucher | None
    why: str


def _over(account: SessionAccount, now: int) -> tuple[Finding, str] | None:
    deadline = account.deadline()
    if account.status is ChainStatus.CLOSED:
        return Finding.CLOSED, "it is settled; what is left of it is rent"
    if deadline is not None and now >= deadline:
        return Finding.TOO_LATE, "its deadline is over: anyone can withdraw the rest to the payer"
    return None


def _charge(account: SessionAccount, proofs: Proofs) -> _Charge | tuple[Finding, str]:
    receipt, voucher = proofs.receipt, proofs.voucher
    if receipt is None:
        alone = "" if voucher is None else "; a voucher says what may be charged, not what was"
        return Finding.UNPROVEN, f"no receipt of yours was presented for it{alone}"
    spent = receipt.spent
    if not account.settled <= spent <= account.deposit:
        return (
            Finding.CONTRADICTED,
            f"its receipt says {spent} base units; {account.settled} are settled, of a deposit of {account.deposit}",
        )
    why = "its highest receipt"
    if account.voucher_signer is VoucherSigner.OPERATOR:
        voucher = None
    elif spent and voucher is None:
        return Finding.UNPROVEN, "a receipt, but not its agent's voucher, without which the program pays nothing"
    elif voucher is not None and voucher.voucher.cumulative < spent:
        spent, why = voucher.voucher.cumulative, "its highest voucher, which is lower than its receipt"
    units = _units(account, spent)
    if units is None or spent < account.settled:
        return (
            Finding.CONTRADICTED,
            f"{spent} base units fit neither the {account.settled} settled nor the price {account.price_per_unit}",
        )
    return _Charge(spent, units, receipt, voucher, why)


def _rank(receipt: Receipt) -> tuple[int, int]:
    metered = receipt.retainer.metered if receipt.retainer else None
    return receipt.spent, metered.sequence if metered else 0


def _units(account: SessionAccount, spent: int) -> int | None:
    """Units charged in all; without a committed price the program only wants them not to go down."""
    if not account.price_per_unit:
        return account.charged_units
    units, rest = divmod(spent, account.price_per_unit)
    return None if rest else units
