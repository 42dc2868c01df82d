"""Paying the fee of an agent's deposit: the sponsor signs what was judged to hold that deposit and nothing else.

The sponsor is neither operator nor payee, so its signature settles nothing and moves nothing of the service's own.
"""

from collections.abc import Iterable

from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from retainer.protocol.envelopes import decode_transaction
from retainer.protocol.problems import ProblemType
from retainer.protocol.signing import Signer
from retainer.protocol.transactions import OpenRequest, TopUpRequest
from retainer_provider.identity import Identity
from retainer_provider.sessions.deposits import Check


def check_fee(judged: OpenRequest | TopUpRequest, us: Identity) -> Iterable[Check]:
    """Whether all have signed but the sponsor, and the sponsor is asked for no more than it gives."""
    sponsored = us.sponsor is not None and judged.fee_payer == us.sponsor
    offered = "this service sponsors no fees" if us.sponsor is None else f"only {us.sponsor} signs for this service"
    return [
        Check(
            not judged.missing or (sponsored and judged.missing == (us.sponsor,)),
            ProblemType.VERIFICATION_FAILED,
            f"The transaction lacks signatures of {', '.join(map(str, judged.missing))}: {offered}, so sign the rest.",
        ),
        Check(
            not sponsored or judged.max_fee <= us.sponsor_fee,
            ProblemType.VERIFICATION_FAILED,
            f"The transaction may cost {judged.max_fee} lamports, but at most {us.sponsor_fee} are sponsored: "
            "ask for a lower priority fee, or pay it yourself.",
        ),
    ]


def co_signed(raw: bytes, missing: tuple[Pubkey, ...], sponsor: Signer | None) -> tuple[bytes, str]:
    """The complete transaction and its signature. Deterministic: a repeated credential makes the same one."""
    transaction = decode_transaction(raw)
    signatures = transaction.signatures
    if missing and sponsor is not None:
        signatures[0] = sponsor.sign_message(to_bytes_versioned(transaction.message))
        transaction = VersionedTransaction.populate(transaction.message, signatures)
    return bytes(transaction), str(signatures[0])
