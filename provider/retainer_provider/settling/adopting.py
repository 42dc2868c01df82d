"""Looking for lost sessions on chain, and entering them into the books, from where they are settled as any other."""

import asyncio
from collections.abc import Mapping, Sequence

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import sessions_of
from retainer.protocol.pda import derive_ata
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import VoucherSigner
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import Adoption, Custody, ExpectedTransfer, NewSession
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.settling.held_recovery import HeldRecovery
from retainer_provider.settling.recovery import Proofs, Recovery, best_proofs, recover
from retainer_provider.settling.settler import SettlementOutcome, Settler

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


def adoption_of_held(recovery: HeldRecovery, us: Identity, now: int) -> Adoption:
    """The same of a custodial session. Its transfers can open no other one from here on."""
    held, offer = recovery.held, recovery.held.offer
    new = NewSession(
        session_id=str(held.session),
        offer_id=offer.id,
        challenge_id=_LOST,
        payer=held.payer,
        payee=us.payee,
        operator=us.operator,
        authorized_signer=us.operator,
        rent_payer=held.payer,
        mint=offer.mint,
        decimals=offer.decimals,
        token_program=offer.token_program,
        escrow=derive_ata(us.payee, offer.mint, offer.token_program),
        salt=0,
        open_slot=0,
        voucher_signer=VoucherSigner.OPERATOR,
        deposit=held.deposits[0].amount,
        price=offer.price,
        expires_at=0,
        grace_period=offer.grace_period,
        sla_hash=bytes(32),
        sla_json="",
        idle_timeout=0,
        max_free_answers=None,
        creation_signature=None,
        created_at=held.deposits[0].at,
        custody=Custody.PROVIDER,
    )
    return Adoption(
        new=new,
        account=None,
        spent=recovery.spent,
        units_charged=recovery.spent // offer.price if offer.price else 0,
        sequence=recovery.sequence,
        usage_root=recovery.usage_root,
        voucher=None,
        reason=f"the books were lost; {recovery.why}",
        now=now,
        transfers=tuple(ExpectedTransfer(one.signature, one.amount, 0) for one in held.deposits),
    )


async def lost_sessions(
    chain: Chain, operator: Pubkey, program_id: Pubkey, receipts: list[Receipt], vouchers: list[SignedVoucher]
) -> tuple[list[Recovery], int]:
    """Every session on chain that the operator may settle, judged by the proofs; and how many of those are worthless.

    As finalized: what a fork may still take back is no session to settle.
    """
    accounts = await sessions_of(chain, operator, program_id=program_id, commitment=Commitment.FINALIZED)
    proofs, worthless = best_proofs(receipts, vouchers, accounts)
    now = await chain.block_time()
    found = [recover(address, account, proofs.get(address, Proofs()), now) for address, account in accounts.items()]
    return found, worthless


async def bring_back(
    chain: Chain,
    ledger: Ledger,
    settler: Settler,
    chosen: Sequence[Recovery | HeldRecovery],
    *,
    us: Identity,
    offers: Mapping[str, Offer],
    now: int,
) -> dict[Pubkey, SettlementOutcome]:
    """Enter sessions into the books, all of them before the first is settled; what is interrupted goes on from there.

    ``now`` is Unix seconds. Settled as any other, by what the books then say.
    """
    for one in chosen:
        if isinstance(one, HeldRecovery):
            await ledger.adopt(adoption_of_held(one, us, now))
        else:
            token_program = await token_program_of(chain, one.account.mint)
            await ledger.adopt(adoption_of(one, token_program, offers, now))
    outcomes = await asyncio.gather(*(settler.settle(str(one.session)) for one in chosen))
    return {one.session: outcome for one, outcome in zip(chosen, outcomes, strict=True)}


async def token_program_of(chain: Chain, mint: Pubkey) -> Pubkey:
    """Which of the token programs a mint belongs to; ForeignAccountError where it is gone."""
    info = await chain.account(mint, commitment=Commitment.FINALIZED)
    if info is None:
        raise ForeignAccountError(f"there is no mint {mint}")
    return info.owner
