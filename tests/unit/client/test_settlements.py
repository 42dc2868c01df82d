"""How a session ended, read from transactions that were really executed."""

from dataclasses import replace

import httpx
import pytest
from solders.pubkey import Pubkey

from retainer.chain.base import TransactionInfo
from retainer.chain.fake import FakeChain
from retainer.errors import CloseRefusedError, CloseUnconfirmedError
from retainer.flows.settlements import find_opening, find_settlement, read_settlement
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.problems import ProblemType
from retainer.protocol.views import SessionView
from tests.unit.client.conftest import Stage
from tests.unit.client.service import PRICE, URL

DEPOSIT = base_units(1_000_000)


async def closed_session(stage: Stage) -> tuple[SessionView, TransactionInfo]:
    session = await stage.client.create_session(URL, "1.0")
    await stage.client.request("GET", URL)
    closed = await stage.client.close_session(session.session_id)
    info = await stage.chain.transaction(closed.signature)
    assert info is not None
    return session, info


async def test_the_event_says_what_was_paid(stage: Stage) -> None:
    session, info = await closed_session(stage)
    settlement = read_settlement(info, session.pda, PROGRAM_ID)
    assert settlement is not None
    assert (settlement.settled, settlement.refunded) == (PRICE, DEPOSIT - PRICE)


async def test_where_logs_were_cut_the_instruction_says_it(stage: Stage) -> None:
    """Logs end at 10 kB, and a malicious closer can fill them first; instruction data is always whole."""
    session, info = await closed_session(stage)
    cut = replace(info, logs=("Log truncated",))
    settlement = read_settlement(cut, session.pda, PROGRAM_ID, DEPOSIT)
    assert settlement == read_settlement(info, session.pda, PROGRAM_ID)
    assert read_settlement(cut, session.pda, PROGRAM_ID) is None, "without the deposit the refund is not known"


async def test_what_did_not_end_the_session_is_no_settlement(stage: Stage) -> None:
    session, info = await closed_session(stage)
    stranger = Pubkey.new_unique()
    opening = await stage.chain.transaction(session.creation_signature or "")
    assert opening is not None
    for other in (replace(info, error='"AccountInUse"'), replace(info, logs=(), raw=b"junk"), opening):
        assert read_settlement(other, session.pda, PROGRAM_ID, DEPOSIT) is None
    assert read_settlement(info, stranger, PROGRAM_ID, DEPOSIT) is None
    assert read_settlement(info, session.pda, stranger, DEPOSIT) is None


async def test_first_and_last_transaction_are_found_by_the_address(stage: Stage) -> None:
    session, info = await closed_session(stage)
    settlement = await find_settlement(stage.chain, session.pda, PROGRAM_ID, hint=session.creation_signature)
    assert settlement is not None
    assert settlement.signature == info.signature
    opened = await find_opening(stage.chain, session.pda, PROGRAM_ID)
    assert opened is not None
    assert (opened.payer, opened.deposit) == (stage.agent.pubkey(), DEPOSIT)
    nowhere = Pubkey.new_unique()
    assert await find_settlement(stage.chain, nowhere, PROGRAM_ID) is None
    assert await find_opening(stage.chain, nowhere, PROGRAM_ID) is None


class CatchingUp:
    """Time in which the client's node catches up with the service's."""

    def __init__(self, chain: FakeChain) -> None:
        self.chain = chain

    def monotonic(self) -> float:
        return self.chain.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.chain.sleep(seconds)
        self.chain.behind = 0


async def test_a_node_that_lags_behind_the_services_is_waited_for(stage: Stage) -> None:
    async def closing(request: httpx.Request) -> httpx.Response | None:
        stage.service.before = None
        answer = await stage.service(request)
        stage.chain.behind = 5
        return answer

    async with stage.another(timer=CatchingUp(stage.chain)) as client:
        session = await client.create_session(URL, "1.0")
        stage.chain.advance(slots=10)
        stage.service.before = closing
        assert (await client.close_session(session.session_id)).refunded == DEPOSIT


async def test_a_close_that_the_chain_does_not_show_is_not_believed(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")

    async def claiming(request: httpx.Request) -> httpx.Response | None:
        return stage.service.answer(session.pda, {"state": "refunded"}, tx_hash=session.creation_signature)

    stage.service.before = claiming
    with pytest.raises(CloseUnconfirmedError, match="your RPC knows of no settlement"):
        await stage.client.close_session(session.session_id)
    stage.service.before = None
    assert (await stage.client.close_session(session.session_id)).refunded == DEPOSIT


async def test_a_refused_close_says_why_and_what_else_can_be_done(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")

    async def refusing(request: httpx.Request) -> httpx.Response | None:
        return await stage.service.refuse(ProblemType.VERIFICATION_FAILED)

    stage.service.before = refusing
    with pytest.raises(CloseRefusedError, match=r"do something about it\. The deposit can be withdrawn") as refused:
        await stage.client.close_session(session.session_id)
    assert refused.value.problem is not None
    assert refused.value.problem.type is ProblemType.VERIFICATION_FAILED
