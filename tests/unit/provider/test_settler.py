"""F13, F14: whatever happens between building a settlement and knowing it final, there is exactly one payout."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from retainer.chain.base import Commitment
from retainer.chain.fake import Fate
from retainer.chain.raw import decode_signed
from retainer.protocol.constants import COMPUTE_BUDGET_PROGRAM_ID, TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.instruction_data import CloseData
from retainer.protocol.session import SessionState
from retainer_provider.books.outcomes import SignedOutcome
from retainer_provider.books.records import SettlementStage
from retainer_provider.settling.settler import SettlementOutcome, Settler, SettlerOptions
from tests.books import DEPOSIT, PRICE
from tests.nodes import Killed, Life, Mortal, Node, program_data
from tests.trading import FUNDS, OPERATOR, Trade, trade_on

SPENT = 30 * PRICE


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def trade(node: Node, tmp_path: Path) -> AsyncIterator[Trade]:
    async with trade_on(node, tmp_path / "ledger.db") as trade:
        yield trade


async def require_settled(trade: Trade, session_id: str, *, settled: int = SPENT, deposit: int = DEPOSIT) -> None:
    """Books and chain agree to the unit, and the session is gone."""
    record = await trade.record(session_id)
    assert record.state is SessionState.REFUNDED
    assert (record.settled, record.refund, record.deposit) == (settled, deposit - settled, deposit)
    assert await trade.account(session_id) is None
    assert await trade.balances() == (settled, FUNDS - settled)
    status = await trade.chain.signature_status(record.settlement_signature or "")
    assert status is not None
    assert (status.error, status.commitment) == (None, Commitment.FINALIZED)


@pytest.mark.parametrize("token_program", [TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID], ids=["spl-token", "token-2022"])
async def test_one_transaction_pays_and_refunds(node: Node, tmp_path: Path, token_program: Pubkey) -> None:
    """The main job's numbers: 30 requests at 0.008 of 1.0. The payee's token account is created on the way."""
    async with trade_on(node, tmp_path / "books.db", token_program=token_program) as trade:
        session_id = await trade.closing()
        before = len(node.sent)
        assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
        await require_settled(trade, session_id)
        assert len(set(node.sent[before:])) == 1
        settlement = await trade.settlement(session_id)
        assert (settlement.stage, settlement.attempts) == (SettlementStage.DONE, 1)
        sent = len(node.sent)
        assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
        assert len(node.sent) == sent, "what is settled is left alone"


async def test_the_transaction_says_what_auditors_need_and_no_more(node: Node, trade: Trade) -> None:
    first, second = await trade.closing(), await trade.closing()
    for session_id in (first, second):
        await trade.settler().settle(session_id)
    record = await trade.record(second)
    info = await node.landed(record.settlement_signature or "")
    (data,) = program_data(info.raw)
    assert isinstance(data, CloseData)
    assert (data.amount, data.charged_units, data.usage_root) == (SPENT, 30, record.usage_root)
    assert data.opened_at == record.opened_at
    message = decode_signed(info.raw).message
    assert len(message.instructions) == 1, "both token accounts exist by now, and no priority fee is set"
    assert message.header.num_required_signatures == 1


@pytest.mark.parametrize("requests", [0, 125])
async def test_nothing_or_everything_spent_settles_too(trade: Trade, requests: int) -> None:
    session_id = await trade.closing(requests=requests)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    await require_settled(trade, session_id, settled=requests * PRICE)


@pytest.mark.parametrize("has_batch", [True, False])
async def test_token_operations_are_batched_where_that_works(node: Node, trade: Trade, has_batch: bool) -> None:  # noqa: FBT001
    node.has_batch = has_batch
    for _ in range(2):
        session_id = await trade.closing(requests=0)
        assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
        info = await node.landed((await trade.record(session_id)).settlement_signature or "")
        (data,) = program_data(info.raw)
        assert isinstance(data, CloseData)
        assert data.batch is has_batch


@pytest.mark.parametrize("fate", [Fate.LANDED_UNANSWERED, Fate.LATE])
@pytest.mark.row("F14", attack="a send without answer that landed", twin="one payout")
async def test_a_send_without_answer_that_landed_pays_once(node: Node, trade: Trade, fate: Fate) -> None:
    session_id = await trade.closing()
    node.next_send(fate, slots=5)
    before = len(node.sent)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    await require_settled(trade, session_id)
    assert len(set(node.sent[before:])) == 1


@pytest.mark.parametrize("fate", [Fate.LOST_UNANSWERED, Fate.DROPPED, Fate.REFUSED])
async def test_lost_bytes_are_sent_again_unchanged(node: Node, trade: Trade, fate: Fate) -> None:
    session_id = await trade.closing()
    node.next_send(fate, times=3)
    before = len(node.sent)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    await require_settled(trade, session_id)
    assert len(set(node.sent[before:])) == 1
    assert len(node.sent) - before > 3


@pytest.mark.row("F13", attack="sending before the signed bytes are kept", twin="kept, then sent")
async def test_what_is_sent_is_on_disk_first(node: Node, trade: Trade) -> None:
    session_id = await trade.closing()
    seen: list[str] = []

    async def compare(signature: str) -> None:
        settlement = await trade.settlement(session_id)
        assert (settlement.stage, settlement.signature) == (SettlementStage.SIGNED, signature)
        seen.append(signature)

    node.before_send = compare
    await trade.settler().settle(session_id)
    assert seen


async def test_what_the_books_did_not_take_is_not_sent(
    node: Node, trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await trade.closing()
    store = trade.ledger.store_signed
    refusals, refused = [SignedOutcome.NO_PLAN, SignedOutcome.NO_PLAN], list[str]()

    async def store_later(session: str, raw: bytes, signature: str, height: int) -> SignedOutcome:
        if refusals:
            refused.append(signature)
            return refusals.pop()
        return await store(session, raw, signature, height)

    monkeypatch.setattr(trade.ledger, "store_signed", store_later)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    assert len(refused) == 2
    assert not set(refused) & set(node.sent)
    await require_settled(trade, session_id)


@pytest.mark.row(
    "F15", attack="a blockhash that expired unlanded", twin="the same bytes until it is finally dead, then the next fee"
)
async def test_a_dead_transaction_is_replaced_and_pays_more(node: Node, trade: Trade) -> None:
    """F15: the same bytes until their blockhash is finally dead, then new ones with the next fee."""
    session_id = await trade.closing()
    node.drop_first()
    before = len(node.sent)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    await require_settled(trade, session_id)
    assert (await trade.settlement(session_id)).attempts == 2
    first, second = dict.fromkeys(node.sent[before:])
    assert node.sent.count(first) > 10
    assert await node.signature_status(first) is None
    info = await node.landed(second)
    message = decode_signed(info.raw).message
    budget = [
        bytes(instruction.data)
        for instruction in message.instructions
        if message.account_keys[instruction.program_id_index] == COMPUTE_BUDGET_PROGRAM_ID
    ]
    assert bytes([3]) + (10_000).to_bytes(8, "little") in budget
    assert info.compute_units is not None
    assert info.compute_units <= int.from_bytes(budget[0][1:5], "little") < 200_000


async def test_a_transaction_that_fails_on_chain_is_replaced(node: Node, trade: Trade) -> None:
    session_id = await trade.closing()
    node.next_send(Fate.FAILED)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    await require_settled(trade, session_id)
    assert (await trade.settlement(session_id)).attempts == 2


async def test_a_node_that_denies_a_landed_settlement_gets_no_second(node: Node, trade: Trade) -> None:
    """It denies it beyond its last height; but the finalized account is gone, so nothing is signed anew."""
    session_id = await trade.closing()
    before = len(node.sent)
    node.denies = True
    assert await trade.settler().settle(session_id) is SettlementOutcome.UNDER_WAY
    assert await trade.balances() == (SPENT, FUNDS - SPENT)
    assert (await trade.record(session_id)).state is SessionState.CLOSING
    node.denies = False
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    await require_settled(trade, session_id)
    assert len(set(node.sent[before:])) == 1


async def test_a_node_that_lies_about_everything_pays_once_all_the_same(node: Node, trade: Trade) -> None:
    """It also shows the account as it was. What is signed anew is refused, and the truth is recorded later."""
    session_id = await trade.closing()
    node.frozen = [info for info in await node.accounts([Pubkey.from_string(session_id)]) if info is not None]
    node.denies = True
    assert await trade.settler().settle(session_id) is SettlementOutcome.REFUSED
    assert await trade.balances() == (SPENT, FUNDS - SPENT)
    node.denies, node.frozen = False, []
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    await require_settled(trade, session_id)


async def test_a_silent_chain_is_waited_for(node: Node, trade: Trade) -> None:
    session_id = await trade.closing()
    settler = trade.settler()
    node.down = True
    assert await settler.settle(session_id) is SettlementOutcome.UNDER_WAY
    node.down = False
    assert await settler.settle(session_id) is SettlementOutcome.SETTLED
    await require_settled(trade, session_id)


async def test_a_settlement_on_a_dying_fork_is_sent_again(node: Node, trade: Trade) -> None:
    session_id = await trade.closing()
    session = Pubkey.from_string(session_id)
    seen: list[bool] = []

    def fork_once() -> None:
        if not seen:
            seen.append(node.is_there(session))
            node.fork(5)
            seen.append(node.is_there(session))

    node.advance(slots=40)
    node.after_sleep = fork_once
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    assert seen == [False, True], "it was settled, and then it was not"
    await require_settled(trade, session_id)


async def test_two_settlers_of_one_session_pay_once(node: Node, trade: Trade) -> None:
    session_id = await trade.closing()
    settler = trade.settler()
    before = len(node.sent)
    outcomes = await asyncio.gather(*(settler.settle(session_id) for _ in range(5)))
    assert outcomes == [SettlementOutcome.SETTLED] * 5
    await require_settled(trade, session_id)
    assert (await trade.settlement(session_id)).attempts == 1
    assert len(set(node.sent[before:])) == 1


@pytest.mark.row("F13", attack="a crash at any point of a settlement", twin="one payout")
async def test_a_crash_at_any_point_pays_once(node: Node, trade: Trade) -> None:
    """Killed before and after every call that settling makes to chain and books, then started again."""
    moments = 0
    survived = False
    while not survived:
        session_id = await trade.closing(requests=1)
        before, sent = await trade.balances(), len(node.sent)
        life = Life(moments)
        doomed = Settler(
            chain=Mortal(node, life),
            ledger=Mortal(trade.ledger, life),
            operator=OPERATOR,
            clock=trade.clock,
            timer=node,
            options=SettlerOptions(poll_seconds=5.0),
        )
        try:
            await doomed.settle(session_id)
            survived = True
        except Killed:
            node.advance(slots=3)  # another blockhash, so that bytes signed anew would be other bytes
            assert await trade.settler(poll_seconds=5.0).settle(session_id) is SettlementOutcome.SETTLED
        payee, payer = await trade.balances()
        assert (payee - before[0], payer - before[1]) == (PRICE, DEPOSIT - PRICE), f"killed at {moments}"
        assert len(set(node.sent[sent:])) == 1, f"killed at {moments}: bytes were sent that were not stored"
        record = await trade.record(session_id)
        assert (record.settled, record.refund) == (PRICE, DEPOSIT - PRICE)
        moments += 1
    assert moments > 30
