"""The payer's own exit: request_close, wait, withdraw, with nobody's help."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.errors import NotDueError, PinError, SessionError, UnknownSessionError
from retainer.flows.leaving import Exit
from retainer.protocol.session import SessionState
from retainer.trust.pins import Pins
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, URL


async def test_a_deposit_comes_back_without_the_service(stage: Stage) -> None:
    session = (await stage.client.create_session(URL, "1.0")).session_id
    asked = await stage.client.request_close(session)
    assert asked.signature is not None
    assert asked.available_at is not None
    assert asked.available_at >= NOW + 900
    again = await stage.client.request_close(session)
    assert (again.signature, again.available_at) == (None, asked.available_at)
    stage.chain.advance(seconds=asked.available_at - await stage.chain.block_time())
    done = await stage.client.withdraw(session)
    assert done.settlement is not None
    assert (done.settlement.settled, done.settlement.refunded) == (0, 1_000_000)
    assert await stage.agent_tokens() == 10_000_000
    assert (await stage.client.get_session(session)).state is SessionState.REFUNDED
    assert await stage.client.withdraw(session) == done
    assert await stage.client.request_close(session) == done


async def test_withdrawing_early_says_how_long_it_takes(stage: Stage) -> None:
    session = (await stage.client.create_session(URL, "1.0")).session_id
    asked = await stage.client.request_close(session)
    assert asked.available_at is not None
    stage.chain.advance(seconds=asked.available_at - 1 - await stage.chain.block_time())
    with pytest.raises(NotDueError, match="in 1 s") as early:
        await stage.client.withdraw(session)
    assert early.value.available_at == asked.available_at
    assert await stage.agent_tokens() == 9_000_000


async def test_waiting_shows_the_time_left_and_ends_at_the_deadline(stage: Stage) -> None:
    session = (await stage.client.create_session(URL, "1.0")).session_id
    await stage.client.request_close(session)
    left: list[int] = []
    done = await stage.client.withdraw(session, waiting=left.append)
    assert done.settlement is not None
    assert left[0] in range(890, 901)
    assert left == sorted(left, reverse=True)
    assert await stage.agent_tokens() == 10_000_000


async def test_a_service_that_settles_ends_the_wait(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    assert (await stage.client.request("GET", URL)).status_code == 200
    await stage.client.request_close(session.session_id)
    waited = 0

    class SettlesMeanwhile:
        """Time in which the service answers the request to close, as it should."""

        def monotonic(self) -> float:
            return stage.chain.monotonic()

        async def sleep(self, seconds: float) -> None:
            nonlocal waited
            waited += 1
            await stage.client.close_session(session.session_id)

    leaving = Exit(stage.chain, stage.agent, Pins(), SettlesMeanwhile())
    done = await leaving.withdraw(session.pda, waiting=lambda _left: None)
    assert waited == 1
    assert done.settlement is not None
    assert (done.settlement.settled, done.settlement.refunded) == (8_000, 992_000)


async def test_the_next_run_goes_on_with_nothing_but_the_key(stage: Stage) -> None:
    session = (await stage.client.create_session(URL, "1.0")).session_id
    await stage.client.request_close(session)
    async with stage.another() as later:
        assert (await later.withdraw(session, waiting=lambda _left: None)).settlement is not None
    assert await stage.agent_tokens() == 10_000_000


async def test_an_expired_session_needs_no_request_first(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    stage.chain.advance(seconds=3600 + 901)
    assert (await stage.client.withdraw(session.session_id)).settlement is not None


@pytest.mark.parametrize("expires", [True, False], ids=["it expires in an hour", "it never expires"])
async def test_an_open_session_must_be_asked_to_close_first(stage: Stage, *, expires: bool) -> None:
    stage.service.terms = expires
    session = await stage.client.create_session(URL, "1.0")
    with pytest.raises(SessionError, match="request_close"):
        await stage.client.withdraw(session.session_id, waiting=lambda _left: None)


async def test_nothing_is_paid_from_a_session_that_is_being_left(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    await stage.client.request_close(session.session_id)
    with pytest.raises(SessionError, match="closing"):
        await stage.client.request("GET", URL, session=session.session_id)


async def test_only_the_payer_can_leave(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    stranger = Exit(stage.chain, Keypair(), Pins(), stage.chain)
    for leave in (stranger.request_close, stranger.withdraw):
        with pytest.raises(SessionError, match="only that key leaves"):
            await leave(session.pda)


async def test_an_address_that_never_was_a_session_is_unknown(stage: Stage) -> None:
    for leave in (stage.client.request_close, stage.client.withdraw):
        with pytest.raises(UnknownSessionError):
            await leave(str(Pubkey.new_unique()))


async def test_an_account_of_another_program_is_left_alone(stage: Stage) -> None:
    with pytest.raises(PinError, match="does not trust"):
        await stage.client.request_close(str(stage.mint))
