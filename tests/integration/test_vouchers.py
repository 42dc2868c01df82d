"""Voucher mode: a request is served for what its agent signed, and only what was spent is ever settled."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair
from starlette.types import Receive, Scope, Send

from retainer.chain.testing import token_balance
from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer_provider.sessions.vouchers import CLOCK_SKEW
from tests.integration.conftest import AGENT, TOKENS, Shop, problem, receipt, reply
from tests.shop import DEPOSIT, GRACE, MINIMUM, PRICE, SIGNER, Opening

STRANGER = Keypair.from_seed(b"s" * 32)
IDLE = 3600


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any]) -> dict[str, Any]:
    raw_settings["offers"]["standard"]["voucher_signer"] = "client"
    return raw_settings


async def paid(shop: Shop, header: str, *, key: str | None = None, path: str = "/paid/x") -> httpx.Response:
    return await shop.send(header, "POST", path, content=b"question", headers={"Idempotency-Key": key} if key else {})


async def spent(shop: Shop, opening: Opening) -> int:
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    return record.spent


@pytest.mark.parametrize("terms", [{}, {"stock": True}], ids=["terms", "stock"])
async def test_a_session_of_vouchers_is_opened_used_and_closed(shop: Shop, terms: dict[str, Any]) -> None:
    """Three requests, one of which broke the SLA: two are settled, although three were authorized."""
    opening = await shop.opened(**terms)
    first = await paid(shop, opening.paying(PRICE))
    assert (first.text, receipt(first).spent, receipt(first).accepted_cumulative) == ("echo:question", PRICE, PRICE)

    async def broken(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"", 500)

    shop.upstream.app = broken
    free = await paid(shop, opening.paying(2 * PRICE))
    assert (free.status_code, receipt(free).spent, receipt(free).accepted_cumulative) == (500, PRICE, 2 * PRICE)
    shop.upstream.app = None
    last = await paid(shop, opening.paying(3 * PRICE))
    assert receipt(last).spent == 2 * PRICE
    closed = await shop.send(opening.closing(4 * PRICE))
    ended = receipt(closed)
    assert (closed.status_code, ended.spent, ended.refunded) == (200, 2 * PRICE, DEPOSIT - 2 * PRICE)
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - 2 * PRICE
    again = await shop.send(opening.closing(4 * PRICE))
    assert receipt(again).tx_hash == ended.tx_hash


async def test_a_session_nobody_paid_in_is_closed_without_a_voucher_on_chain(shop: Shop) -> None:
    opening = await shop.opened()
    closed = receipt(await shop.send(opening.closing(PRICE)))
    assert (closed.spent, closed.refunded) == (0, DEPOSIT)


async def test_a_voucher_may_jump_ahead_and_its_surplus_is_never_settled(shop: Shop) -> None:
    """A stock client that lost an answer does: what it signed beyond its requests stays its own."""
    opening = await shop.opened()
    for cumulative in (PRICE, 5 * PRICE, 5 * PRICE + 1, DEPOSIT):
        assert (await paid(shop, opening.paying(cumulative))).status_code == 200
    assert receipt(await shop.send(opening.closing(DEPOSIT))).spent == 4 * PRICE


async def test_the_same_voucher_is_one_request(shop: Shop) -> None:
    """Ten at once, then one after another: one charge, one run, ten times the same answer."""
    opening = await shop.opened()
    header = opening.paying(PRICE)
    answers = await asyncio.gather(*(paid(shop, header) for _ in range(10)))
    answers += [await paid(shop, header) for _ in range(3)]
    assert {answer.headers["payment-receipt"] for answer in answers} == {answers[0].headers["payment-receipt"]}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 12
    assert (len(shop.upstream.asked), await spent(shop, opening)) == (1, PRICE)
    other = await shop.send(header, "POST", "/paid/y", content=b"other")
    assert problem(other).type == ProblemType.IDEMPOTENCY_CONFLICT


async def test_an_old_voucher_replays_its_answer_by_key_and_buys_nothing_else(shop: Shop) -> None:
    opening = await shop.opened()
    first = await paid(shop, opening.paying(PRICE), key="a")
    await paid(shop, opening.paying(2 * PRICE), key="b")
    again = await paid(shop, opening.paying(PRICE), key="a")
    assert again.headers["payment-receipt"] == first.headers["payment-receipt"]
    for key in ("c", None):
        refused = problem(await paid(shop, opening.paying(PRICE), key=key))
        assert refused.type == ProblemType.VERIFICATION_FAILED
        assert (refused.extra["acceptedCumulative"], refused.extra["spent"]) == (str(2 * PRICE), str(2 * PRICE))
    assert len(shop.upstream.asked) == 2


async def test_an_accepted_voucher_serves_what_it_still_authorizes(shop: Shop) -> None:
    """Whoever lost an answer or got one for free need not sign more; but no unit is spent twice."""
    opening = await shop.opened()
    header = opening.paying(2 * PRICE)
    for key in ("a", "b"):
        assert (await paid(shop, header, key=key)).status_code == 200
    assert problem(await paid(shop, header, key="c")).type == ProblemType.VERIFICATION_FAILED
    assert await spent(shop, opening) == 2 * PRICE


@pytest.mark.row("F09", attack="requests racing for what one voucher authorizes", twin="what was signed is served")
async def test_racing_vouchers_never_spend_more_than_was_signed(shop: Shop) -> None:
    """F09."""
    opening = await shop.opened()
    header = opening.paying(3 * PRICE)
    answers = await asyncio.gather(*(paid(shop, header, key=f"{number}") for number in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [402] * 17
    assert (len(shop.upstream.asked), await spent(shop, opening)) == (3, 3 * PRICE)


@pytest.mark.parametrize(
    "header",
    [
        lambda opening: opening.paying(PRICE - 1),
        lambda opening: opening.paying(0),
        lambda opening: opening.paying(DEPOSIT + 1),
        lambda opening: opening.paying(PRICE, signer=STRANGER),
        lambda opening: opening.paying(PRICE, signer=AGENT),
        lambda opening: opening.use(),
    ],
    ids=["short", "nothing", "beyond the deposit", "a stranger's", "the payer's", "a proof"],
)
async def test_what_does_not_pay_is_refused_and_not_kept(shop: Shop, header: Callable[[Opening], str]) -> None:
    opening = await shop.opened()
    answer = await paid(shop, header(opening))
    assert problem(answer).type == ProblemType.VERIFICATION_FAILED
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    assert (record.accepted, record.voucher, record.spent) == (0, None, 0)
    assert shop.upstream.asked == []
    assert (await paid(shop, opening.paying(PRICE))).status_code == 200


@pytest.mark.row(
    "F33",
    attack="a voucher that is valid now and expired when settled",
    twin="one that outlives the settlement is served",
)
async def test_a_voucher_must_outlive_the_settlement(shop: Shop) -> None:
    """F33."""
    opening = await shop.opened()
    horizon = shop.clock.now() + IDLE + GRACE + CLOCK_SKEW
    short = problem(await paid(shop, opening.paying(PRICE, expires_at=horizon - 1)))
    assert (short.type, str(horizon) in short.detail) == (ProblemType.VERIFICATION_FAILED, True)
    assert (await paid(shop, opening.paying(PRICE, expires_at=horizon + 60))).status_code == 200
    assert receipt(await shop.send(opening.closing(2 * PRICE))).spent == PRICE


async def test_only_the_newest_voucher_closes(shop: Shop) -> None:
    """An older one may have been seen by others; a proof belongs to the other mode."""
    opening = await shop.opened()
    await paid(shop, opening.paying(2 * PRICE))
    now = shop.clock.now()
    for header in (
        opening.closing(PRICE),
        opening.closing(DEPOSIT + 1),
        opening.closing(2 * PRICE, signer=STRANGER),
        opening.closing(3 * PRICE, expires_at=now - CLOCK_SKEW - 1),
        opening.close(),
    ):
        assert problem(await shop.send(header)).type == ProblemType.VERIFICATION_FAILED
    assert (await shop.view(opening)).state is SessionState.ACTIVE
    assert receipt(await shop.send(opening.closing(2 * PRICE))).spent == PRICE


async def test_a_depleted_session_of_vouchers_goes_on_after_a_top_up(shop: Shop) -> None:
    opening = await shop.opened(deposit=MINIMUM)
    for number in range(1, 11):
        assert (await paid(shop, opening.paying(number * PRICE))).status_code == 200
    assert problem(await paid(shop, opening.paying(11 * PRICE))).type == ProblemType.SESSION_DEPLETED
    blockhash = (await shop.chain.latest_blockhash()).blockhash
    assert (await shop.send(opening.topping_up(PRICE, blockhash))).status_code == 200
    assert (await paid(shop, opening.paying(11 * PRICE))).status_code == 200


async def test_the_agents_signer_must_be_its_own(shop: Shop) -> None:
    """Else the program takes the session for a metered one, and needs no voucher."""
    metered = shop.agent.open(await shop.challenge(), authorized_signer=SIGNER.pubkey())
    assert (await shop.send(metered.header)).status_code == 200
    request = metered.challenge.session_request()
    assert request.retainer is not None
    operators = shop.agent.open(await shop.challenge(), authorized_signer=request.retainer.operator)
    assert problem(await shop.send(operators.header)).type == ProblemType.DEPOSIT_TERMS_MISMATCH


async def test_an_idle_session_is_settled_with_the_kept_voucher(shop: Shop) -> None:
    """The service needs nothing of the agent to be paid."""
    opening = await shop.opened()
    await paid(shop, opening.paying(PRICE))
    shop.chain.advance(seconds=IDLE + 1)
    record = await shop.settled(opening)
    assert (record.settled, record.refund) == (PRICE, DEPOSIT - PRICE)


async def test_the_rent_comes_back_once_the_address_is_safe(shop: Shop) -> None:
    """Within the slot window the empty account stays, so that no voucher ever fits two sessions (C48)."""
    opening = await shop.opened()
    await paid(shop, opening.paying(PRICE))
    assert (await shop.send(opening.closing(PRICE))).status_code == 200
    address, before = opening.action.channel_id, await shop.chain.account(AGENT.pubkey())
    await shop.pace.tick()
    shop.chain.advance(slots=40)
    await shop.pace.tick()
    assert await shop.chain.account(address) is not None
    shop.chain.advance(slots=OPEN_SLOT_WINDOW)
    await shop.pace.tick()
    shop.chain.advance(slots=40)
    assert await shop.chain.account(address) is None
    after = await shop.chain.account(AGENT.pubkey())
    assert before is not None
    assert after is not None
    assert after.lamports > before.lamports
    assert [record.session_id for record in await shop.ledger.left_behind()] == [str(address)]
    await shop.pace.tick()
    assert await shop.ledger.left_behind() == []


async def test_a_voucher_shows_its_session_and_is_not_taken_for_that(shop: Shop) -> None:
    opening = await shop.opened()
    path = f"/api/sessions/{opening.action.channel_id}"
    shown = await shop.send(opening.paying(PRICE), path=path)
    assert (shown.status_code, shown.json()["spent"]) == (200, "0")
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    assert record.accepted == 0
    stranger = await shop.send(opening.paying(PRICE, signer=STRANGER), path=path)
    assert problem(stranger).type == ProblemType.VERIFICATION_FAILED


async def test_head_keeps_a_voucher_and_serves_nothing(shop: Shop) -> None:
    opening = await shop.opened()
    for _ in range(2):  # told twice, it is the same
        kept = await shop.send(opening.paying(3 * PRICE), "HEAD")
        said = receipt(kept)
        assert (kept.status_code, kept.content) == (200, b"")
        assert (said.accepted_cumulative, said.spent) == (3 * PRICE, 0)
    assert (shop.upstream.asked, await spent(shop, opening)) == ([], 0)
    lower = await shop.send(opening.paying(2 * PRICE), "HEAD")
    assert lower.status_code == 402
    above = await shop.send(opening.paying(DEPOSIT + 1), "HEAD")
    assert above.status_code == 402
    for key in "abc":
        assert (await paid(shop, opening.paying(3 * PRICE), key=key)).status_code == 200
    assert await spent(shop, opening) == 3 * PRICE


async def test_head_with_a_key_is_a_request_like_any_other(shop: Shop) -> None:
    opening = await shop.opened()
    answer = await shop.send(opening.paying(PRICE), "HEAD", headers={"Idempotency-Key": "a"})
    assert receipt(answer).spent == PRICE
    assert len(shop.upstream.asked) == 1


async def test_head_tops_up_and_closes_without_a_body(shop: Shop) -> None:
    opening = await shop.opened()
    blockhash = (await shop.chain.latest_blockhash()).blockhash
    added = await shop.send(opening.topping_up(MINIMUM, blockhash), "HEAD")
    assert (added.status_code, added.content) == (200, b"")
    closed = await shop.send(opening.closing(0), "HEAD")
    assert receipt(closed).refunded == DEPOSIT + MINIMUM
    assert shop.upstream.asked == []
