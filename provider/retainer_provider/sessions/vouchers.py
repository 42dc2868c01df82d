"""Judging a voucher, purely: who signed it, and whether it is still good when the session is settled."""

from typing import Final

from retainer.protocol.digests import body_digest
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import VoucherSigner
from retainer.protocol.vouchers import SignedVoucher, verify_voucher, voucher_bytes
from retainer_provider.books.records import SessionRecord
from retainer_provider.sessions.deposits import Check, first_broken
from retainer_provider.sessions.refusals import Refusal

# Between the signer's clock, ours and the chain's.
CLOCK_SKEW: Final = 30


def check_signature(signed: SignedVoucher) -> Refusal | None:
    """Whether whoever is named signed it: needs no look into the books, so it comes first (F17)."""
    if verify_voucher(signed):
        return None
    return Refusal(
        ProblemType.VERIFICATION_FAILED,
        "The voucher's signature does not verify: sign the 50 bytes of channelId, cumulativeAmount and expiresAt with "
        "the session's authorizedSigner.",
    )


def check_signer(signed: SignedVoucher, record: SessionRecord) -> Refusal | None:
    """Whether a voucher is one of this session's, whatever it is worth."""
    if record.voucher_signer is not VoucherSigner.CLIENT:
        return Refusal(
            ProblemType.VERIFICATION_FAILED, f"Session {record.session_id} is metered by its operator: pay with `use`."
        )
    if signed.signer != record.authorized_signer:
        return Refusal(
            ProblemType.VERIFICATION_FAILED,
            f"The voucher is signed by {signed.signer}, but this session was opened for vouchers of "
            f"{record.authorized_signer}.",
        )
    return None


def check_voucher(signed: SignedVoucher, record: SessionRecord, now: int) -> Refusal | None:
    """Whether a voucher can pay in this session: its mode, its signer, its life."""
    refusal, expires_at = check_signer(signed, record), signed.voucher.expires_at
    if refusal is not None or expires_at == 0:
        return refusal
    horizon = settlement_horizon(record, now)
    if expires_at >= horizon:
        return None
    return Refusal(
        ProblemType.VERIFICATION_FAILED,
        f"The voucher expires at {expires_at}, before this session may be settled, which is up to {horizon}: sign one "
        "that expires later, or never.",
    )


def check_closing_voucher(signed: SignedVoucher, record: SessionRecord, now: int) -> Refusal | None:
    """Whether a voucher may close the session. An older one than was accepted may not: others may have seen it."""
    voucher = signed.voucher
    return check_signer(signed, record) or first_broken(
        [
            Check(
                record.accepted <= voucher.cumulative <= record.deposit,
                ProblemType.VERIFICATION_FAILED,
                f"The closing voucher is over {voucher.cumulative} base units, but must cover the {record.accepted} "
                f"accepted and not exceed the {record.deposit} deposited. Only what is spent is settled.",
            ),
            Check(
                voucher.expires_at == 0 or voucher.expires_at >= now - CLOCK_SKEW,
                ProblemType.VERIFICATION_FAILED,
                f"The voucher expired at {voucher.expires_at}: sign one that expires later, or never.",
            ),
        ]
    )


def check_metered(record: SessionRecord) -> Refusal | None:
    """Whether a session is of those that its payer's proof pays for and closes."""
    return first_broken(
        [
            Check(
                record.voucher_signer is VoucherSigner.OPERATOR,
                ProblemType.VERIFICATION_FAILED,
                f"Session {record.session_id} is paid by vouchers of {record.authorized_signer}: send one.",
            )
        ]
    )


def settlement_horizon(record: SessionRecord, now: int) -> int:
    """Unix time until which a voucher presented now may be needed on chain.

    The session ends by its expiry, or by idleness: a later request brings its voucher and is judged anew.
    """
    ends = [now + record.idle_timeout if record.idle_timeout else 0, record.expires_at]
    known = [at for at in ends if at]
    return (min(known) if known else now) + record.grace_period + CLOCK_SKEW


def replay_key(signed: SignedVoucher) -> str:
    """What stands in for an Idempotency-Key where there is none; the space keeps it apart from any header value."""
    return "voucher " + body_digest(voucher_bytes(signed.voucher)).hex()
