"""Building and signing the transaction that settles and refunds: one instruction, one signature."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from retainer.chain.base import Chain, SimulationResult, program_error
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.instructions import close, create_ata_idempotent, ed25519_voucher, settle
from retainer.protocol.pda import derive_ata
from retainer.protocol.program_errors import explain
from retainer.protocol.session import SessionAccount
from retainer.protocol.signing import Signer, signed_transaction
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.records import SettlementPlan
from retainer_provider.settling.fees import FeePolicy

# What a token account of the ATA program holds: of SPL Token, and of Token-2022 with its immutable owner.
_TOKEN_ACCOUNT_BYTES: Final = {TOKEN_PROGRAM_ID: 165, TOKEN_2022_PROGRAM_ID: 170}
# How the payer's token account can stand in the way: wrong, frozen, malformed, with a refused extension.
_REFUND_BLOCKED: Final = frozenset({6056, 6057, 6058, 6251})
# Room above the simulated compute units, for state that changes until the transaction lands.
_UNIT_MARGIN_PERCENT: Final = 20
_UNIT_MARGIN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction to be stored, then sent."""

    raw: bytes
    signature: str
    last_valid_block_height: int


@dataclass(frozen=True, slots=True)
class CloseRefused:
    """Every form of the transaction failed in simulation; ``reason`` is a sentence, ``code`` the program's number.

    ``refund_blocked``: only the payer's token account stands in the way, so that the payee can be paid all the same.
    """

    reason: str
    code: int | None
    refund_blocked: bool = False


_NO_ACCOUNT: Final = CloseRefused(
    "the payer has no token account, and the rent that closing frees would not pay for a new one",
    None,
    refund_blocked=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPolicy:
    """What the operator spends on settling. ``sponsor`` is the service's own: rent that goes back there is not lost.

    ``pay_for_accounts``: create a payer's missing token account whoever gets the rent that closing frees.
    """

    fees: FeePolicy = field(default_factory=FeePolicy)
    sponsor: Pubkey | None = None
    pay_for_accounts: bool = False


class CloseBuilder:
    """Makes the transactions that the operator signs and pays for."""

    def __init__(self, chain: Chain, operator: Signer, program_id: Pubkey, costs: CostPolicy) -> None:
        self._chain = chain
        self._operator = operator
        self._program_id = program_id
        self._costs = costs
        self._without_batch: set[Pubkey] = set()  # token programs that have no `batch`

    async def close(
        self,
        session: Pubkey,
        account: SessionAccount,
        token_program: Pubkey,
        plan: SettlementPlan,
        attempt: int,
        *,
        voucher: SignedVoucher | None,
    ) -> Signed | CloseRefused:
        """Settle and refund, as it just passed simulation.

        Token accounts that are missing are created by the operator, a payer's only where its cost comes back: else
        whoever closes its own before each close would earn the rent. ``attempt`` counts from 0 and raises the fee.
        ``voucher`` is needed where the signer is not the operator and the plan raises what is settled.
        """
        creations = await self._creations(account, token_program, account.payee, account.payer)
        if any(owner == account.payer for owner, _ in creations) and not await self._covered(
            session, account, token_program
        ):
            return _NO_ACCOUNT
        authority = _authority(account, plan, voucher)
        price = await self._price(account, token_program, attempt)

        async def built(*, batch: bool) -> Signed | CloseRefused:
            settle_and_refund = close(
                submitter=self._operator.pubkey(),
                session=session,
                account=account,
                payee_token=derive_ata(account.payee, account.mint, token_program),
                payer_token=derive_ata(account.payer, account.mint, token_program),
                amount=plan.amount,
                charged_units=plan.charged_units,
                usage_root=plan.usage_root,
                batch=batch,
                token_program=token_program,
                program_id=self._program_id,
            )
            create = [instruction for _, instruction in creations]
            return await self._finish([*create, *authority, settle_and_refund], price)

        if token_program not in self._without_batch:
            batched = await built(batch=True)
            if isinstance(batched, Signed):
                return batched
        single = await built(batch=False)
        if isinstance(single, Signed):
            self._without_batch.add(token_program)
        return single

    async def settle(
        self,
        session: Pubkey,
        account: SessionAccount,
        token_program: Pubkey,
        plan: SettlementPlan,
        attempt: int,
        *,
        voucher: SignedVoucher | None,
    ) -> Signed | CloseRefused:
        """Pay the payee and leave the session open: for when only the refund is blocked, by its payer."""
        pay = settle(
            submitter=self._operator.pubkey(),
            session=session,
            account=account,
            payee_token=derive_ata(account.payee, account.mint, token_program),
            amount=plan.amount,
            charged_units=plan.charged_units,
            token_program=token_program,
            program_id=self._program_id,
        )
        creations = await self._creations(account, token_program, account.payee)
        create = [instruction for _, instruction in creations]
        price = await self._price(account, token_program, attempt)
        return await self._finish([*create, *_authority(account, plan, voucher), pay], price)

    async def _price(self, account: SessionAccount, token_program: Pubkey, attempt: int) -> int:
        payee_token = derive_ata(account.payee, account.mint, token_program)
        return await self._costs.fees.price(self._chain, payee_token, attempt)

    async def _covered(self, session: Pubkey, account: SessionAccount, token_program: Pubkey) -> bool:
        """Whether a new token account costs the service no more than closing this session brings back to it."""
        if self._costs.pay_for_accounts:
            return True
        if account.rent_payer != self._costs.sponsor:
            return False
        held = await self._chain.accounts([session, account.escrow])
        freed = sum(info.lamports for info in held if info is not None)
        return freed >= await self._chain.minimum_balance(_TOKEN_ACCOUNT_BYTES[token_program])

    async def _creations(
        self, account: SessionAccount, token_program: Pubkey, *owners: Pubkey
    ) -> list[tuple[Pubkey, Instruction]]:
        """The owners that have no token account yet, each with what creates it."""
        addresses = [derive_ata(owner, account.mint, token_program) for owner in owners]
        found = await self._chain.accounts(addresses)
        return [
            (
                owner,
                create_ata_idempotent(
                    funder=self._operator.pubkey(), owner=owner, mint=account.mint, token_program=token_program
                ),
            )
            for owner, info in zip(owners, found, strict=True)
            if info is None
        ]

    async def _finish(self, instructions: Sequence[Instruction], priority_fee: int) -> Signed | CloseRefused:
        latest = await self._chain.latest_blockhash()
        simulated = await self._chain.simulate(bytes(await self._signed(instructions, latest.blockhash)))
        if simulated.error is not None:
            return _refusal(simulated)
        transaction = await self._signed([*budget(simulated.units, priority_fee), *instructions], latest.blockhash)
        return Signed(bytes(transaction), str(transaction.signatures[0]), latest.last_valid_block_height)

    async def _signed(self, instructions: Sequence[Instruction], blockhash: Hash) -> Transaction:
        # An external signer takes its time, and the requests need not wait for it.
        return await asyncio.to_thread(signed_transaction, instructions, [self._operator], blockhash)


def _authority(account: SessionAccount, plan: SettlementPlan, voucher: SignedVoucher | None) -> list[Instruction]:
    # The program reads the instruction directly before its own, and only for a raise.
    return [] if voucher is None or plan.amount == account.settled else [ed25519_voucher(voucher)]


def budget(units: int | None, priority_fee: int) -> list[Instruction]:
    """What asks for compute ``units`` as simulated, with room, at a fee in millionths of a lamport each; 0: nothing."""
    if not priority_fee:
        return []
    price = set_compute_unit_price(priority_fee)
    if units is None:
        return [price]
    return [set_compute_unit_limit(units + units * _UNIT_MARGIN_PERCENT // 100 + _UNIT_MARGIN), price]


def _refusal(simulated: SimulationResult) -> CloseRefused:
    code = program_error(simulated.error)
    reason = explain(code) if code is not None else f"the runtime refused it: {simulated.error}"
    return CloseRefused(reason, code, refund_blocked=code in _REFUND_BLOCKED)
