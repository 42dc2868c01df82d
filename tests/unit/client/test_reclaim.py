"""The payer's own exit: request_close, wait, withdraw, with nobody's help."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.errors import PinError, SessionError, UnknownSessionError
from retainer.flows.reclaim import ReclaimStep, reclaim
from retainer.protocol.session import SessionState
from retainer.trust.pins import Pins
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, URL


async def test_a_deposit_comes_back_without_the_service(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    asked = await stage.client.reclaim(session.session_id)
    assert asked.step is ReclaimStep.REQUESTED
    assert asked.available_at is not None
    assert asked.available_at >= NOW + 900
    waiting = await stage.client.reclaim(session.session_id)
    assert (waiting.step, waiting.available_at) == (ReclaimStep.WAITING, asked.available_at)
    stage.chain.advance(seconds=901)
    done = await stage.client.reclaim(session.session_id)
    assert done.step is ReclaimStep.REFUNDED
    assert done.settlement is not None
    assert (done.settlement.settled, done.settlement.refunded) == (0, 1_000_000)
    assert await stage.agent_tokens() == 10_000_000
    assert (await stage.client.get_session(session.session_id)).state is SessionState.REFUNDED
    assert await stage.client.reclaim(session.session_id) == done


async def test_an_expired_session_needs_no_request_first(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    stage.chain.advance(seconds=3600 + 901)
    assert (await stage.client.reclaim(session.session_id)).step is ReclaimStep.REFUNDED


async def test_only_the_payer_can_reclaim(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    with pytest.raises(SessionError, match="only that key"):
        await reclaim(stage.chain, Keypair(), Pins(), session.pda, timer=stage.chain)


async def test_an_address_that_never_was_a_session_is_unknown(stage: Stage) -> None:
    with pytest.raises(UnknownSessionError):
        await stage.client.reclaim(str(Pubkey.new_unique()))


async def test_an_account_of_another_program_is_left_alone(stage: Stage) -> None:
    with pytest.raises(PinError, match="does not trust"):
        await stage.client.reclaim(str(stage.mint))
