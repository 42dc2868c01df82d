"""Entering what was recovered into the books, from where the ordinary settlement takes it."""

from collections.abc import Mapping

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ForeignAccountError
from retainer_provider.books.records import Adoption, NewSession
from retainer_provider.offers import Offer
from retainer_provider.settling.recovery import Recovery

_LOST = "recovered"  # stands for what only the lost books knew


def adoption_of(recovery: Recovery, token_program: Pubkey, offers: Mapping[str, Offer], now: int) -> Adoption:
    """A session as it enters the books again; what only they knew is written as such."""
    account = recovery.account
    offer = next((one.id for one in offers.values() if one.mint == account.mint), _LOST)
    new = NewSession(
        session_id=str(recovery.session),
        offer_id=offer,
        challenge_id=_LOST,
        payer=account.payer,
        payee=account.payee,
        operator=account.operator,
        authorized_signer=account.authorized_signer,
        rent_payer=account.rent_payer,
        mint=account.mint,
        decimals=account.decimals,
        token_program=token_program,
        escrow=account.escrow,
        salt=account.salt,
        open_slot=account.open_slot,
        voucher_signer=account.voucher_signer,
        deposit=account.deposit,
        price=account.price_per_unit,
        expires_at=account.expires_at,
        grace_period=account.grace_period,
        sla_hash=account.sla_hash,
        sla_json="",
        idle_timeout=0,
        max_free_answers=None,
        creation_signature=None,
        created_at=account.opened_at,
    )
    return Adoption(
        new=new,
        account=account,
        spent=recovery.spent,
        units_charged=recovery.units,
        sequence=recovery.sequence,
        usage_root=recovery.usage_root,
        voucher=recovery.voucher,
        reason=f"the books were lost; {recovery.why}",
        now=now,
    )


async def token_program_of(chain: Chain, mint: Pubkey) -> Pubkey:
    """Which of the token programs a mint belongs to; ForeignAccountError where it is gone."""
    info = await chain.account(mint, commitment=Commitment.FINALIZED)
    if info is None:
        raise ForeignAccountError(f"there is no mint {mint}")
    return info.owner
