"""What settling a session would send now: built, signed and simulated, and neither sent nor written down."""

from dataclasses import dataclass
from typing import Protocol

from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.errors import ForeignAccountError
from retainer.chain.raw import decode_signed
from retainer.chain.sessions import session_account
from retainer.protocol.encoding import Json
from retainer.protocol.session import ChainStatus, SessionAccount
from retainer_provider.books.records import Custody, SessionRecord, Settlement, SettlementPlan, SettlementStage
from retainer_provider.settling.closing_transaction import CloseBuilder, CloseRefused
from retainer_provider.settling.crediting import UsageReader, availability_of
from retainer_provider.settling.settlement import Mismatch, plan_settlement


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """``obstacle`` is a sentence where nothing would be sent; sizes are in bytes, amounts in base units."""

    session_id: str
    obstacle: str | None = None
    plan: SettlementPlan | None = None
    credit_units: int = 0
    instructions: int = 0
    size: int = 0
    compute_units: int | None = None

    def to_json(self) -> dict[str, Json]:
        """For programs."""
        told: dict[str, Json] = {"sessionId": self.session_id, "obstacle": self.obstacle}
        if self.plan is not None:
            told |= {
                "amount": str(self.plan.amount),
                "chargedUnits": str(self.plan.charged_units),
                "creditUnits": str(self.credit_units),
                "refund": str(self.plan.refund),
            }
        if self.size:
            told |= {"instructions": self.instructions, "bytes": self.size, "computeUnits": self.compute_units}
        return told


class Books(UsageReader, Protocol):
    """What rehearsing reads."""

    async def settlement(self, session_id: str) -> Settlement | None:
        """A session's settlement, live or done."""
        ...


async def rehearse(
    chain: Chain, books: Books, builder: CloseBuilder, program_id: Pubkey, record: SessionRecord
) -> Rehearsal:
    """As if the session were closed now; what is in flight may still raise what it has spent."""
    session_id = record.session_id
    if record.custody is Custody.PROVIDER:
        return Rehearsal(session_id, "it is custodial, and ends by a transfer of what is not spent")
    settlement = await books.settlement(session_id)
    if settlement is not None and settlement.stage is SettlementStage.SIGNED:
        return Rehearsal(
            session_id, f"transaction {settlement.signature} is signed and would be sent again", settlement.plan
        )
    address = Pubkey.from_string(session_id)
    try:
        account = await session_account(chain, address, program_id=program_id)
    except ForeignAccountError as error:
        return Rehearsal(session_id, str(error))
    if account is None or account.status is ChainStatus.CLOSED:
        return Rehearsal(session_id, "its account is gone: what removed it would be looked up and written down")
    return await _built(chain, books, builder, record, account)


async def _built(
    chain: Chain, books: Books, builder: CloseBuilder, record: SessionRecord, account: SessionAccount
) -> Rehearsal:
    session_id, address = record.session_id, Pubkey.from_string(record.session_id)
    credit_units = (await availability_of(books, record)).credit_units
    plan = plan_settlement(record, account, credit_units)
    if isinstance(plan, Mismatch):
        return Rehearsal(session_id, plan.reason)
    signed = await builder.close(address, account, record.token_program, plan, 0, voucher=record.voucher)
    if isinstance(signed, CloseRefused):
        return Rehearsal(session_id, signed.reason, plan, credit_units)
    instructions = len(decode_signed(signed.raw).message.instructions)
    units = (await chain.simulate(signed.raw)).units
    return Rehearsal(session_id, None, plan, credit_units, instructions, len(signed.raw), units)
