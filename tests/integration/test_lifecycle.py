"""A session's end by either side, by time and by accident; and a service that stops and starts again."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from starlette.types import Receive, Scope, Send

from retainer.chain.fake import FakeChain, Fate
from retainer.chain.testing import token_balance
from retainer.protocol.instructions import request_close
from retainer.protocol.problems import ProblemType, parse_problem
from retainer.protocol.session import SessionState
from retainer_provider.app import create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.books.outcomes import CommitOutcome, CommitResult
from retainer_provider.books.records import Commit
from retainer_provider.keys import keypair_text, write_private
from retainer_provider.settings import SettingsError, settings_from
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, Upstream, opened_shop, problem, receipt, reply
from tests.shop import DEPOSIT, PRICE, Agent, Opening, settings, table
from tests.times import ChainClock, Pace, until


async def leave(shop: Shop, opening: Opening) -> None:
    """The payer asks for its exit on chain."""
    blockhash = (await shop.chain.latest_blockhash()).blockhash
    instruction = request_close(payer=AGENT.pubkey(), session=opening.action.channel_id)
    await shop.chain.send(shop.agent.sign([instruction], blockhash))


async def is_closing(shop: Shop, opening: Opening) -> bool:
    """Whether its close has begun, as the books have it."""
    record = await shop.ledger.session(str(opening.action.channel_id))
    return record is not None and record.state is SessionState.CLOSING


async def test_closing_waits_for_requests_in_flight_and_settles_them(shop: Shop) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        asked.set()
        await go.wait()
        await reply(send, b"done")

    opening = await shop.opened()
    shop.upstream.app = app
    running = asyncio.ensure_future(shop.use(opening))
    await asked.wait()
    closing = asyncio.ensure_future(shop.send(opening.close()))
    await until(partial(is_closing, shop, opening))
    assert problem(await shop.use(opening)).type == ProblemType.SESSION_CLOSING
    go.set()
    answer, closed = await asyncio.gather(running, closing)
    assert answer.text == "done"
    assert (closed.status_code, receipt(closed).spent) == (200, PRICE)


async def test_a_close_that_the_chain_does_not_finish_is_accepted_and_finished_later(shop: Shop) -> None:
    opening = await shop.opened()
    await shop.use(opening)
    shop.chain.down = True
    answer = await shop.send(opening.close())
    assert (answer.status_code, answer.json()["state"]) == (202, "closing")
    assert "payment-receipt" not in answer.headers
    assert answer.headers["retry-after"] == "1"
    shop.chain.down = False
    again = await shop.send(opening.close())
    assert (again.status_code, receipt(again).refunded) == (200, DEPOSIT - PRICE)


@pytest.mark.parametrize("fate", [Fate.LANDED_UNANSWERED, Fate.LOST_UNANSWERED, Fate.LATE, Fate.DROPPED])
@pytest.mark.row(
    "F14",
    attack="a settlement that landed and was answered by an error, or was lost",
    twin="one payout, the true amount recorded",
)
async def test_a_settlement_pays_once_whatever_becomes_of_its_transaction(shop: Shop, fate: Fate) -> None:
    """F13, F14."""
    opening = await shop.opened()
    await shop.use(opening)
    shop.chain.next_send(fate)
    answer = await shop.send(opening.close())
    assert (answer.status_code, receipt(answer).spent) == (200, PRICE)
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - PRICE


@pytest.mark.row("F32", attack="the payer asks for its exit while it is served", twin="settled before it can withdraw")
async def test_a_payer_who_asks_for_its_exit_is_answered_by_a_settlement(shop: Shop) -> None:
    """F32, C24."""
    opening = await shop.opened()
    await shop.use(opening)
    await leave(shop, opening)
    await shop.settled(opening)
    assert problem(await shop.use(opening)).type == ProblemType.SESSION_CLOSED
    view = await shop.view(opening)
    assert (view.settled, view.refund) == (PRICE, DEPOSIT - PRICE)


async def test_an_idle_session_is_closed_and_refunded(shop: Shop) -> None:
    opening = await shop.opened()
    await shop.use(opening)
    for _ in range(13):
        shop.chain.advance(seconds=299)
        await shop.pace.tick()
    await shop.settled(opening)
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - PRICE


async def test_a_client_chooses_among_the_idle_timeouts_on_offer(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    raw_settings["offers"]["standard"]["idle_timeout_options"] = [600, 86_400]
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        other = shop.agent.open(await shop.challenge()).claiming(idle_timeout_seconds=601)
        refused = problem(await shop.send(other.header))
        assert (refused.type, "[600, 86400]" in refused.detail) == (ProblemType.VERIFICATION_FAILED, True)
        brief = shop.agent.open(await shop.challenge()).claiming(idle_timeout_seconds=600)
        assert receipt(await shop.send(brief.header)).idle_timeout_seconds == 600
        usual = receipt(await shop.send((await shop.opened()).header))
        assert usual.idle_timeout_seconds == 3600
        shop.chain.advance(seconds=299)
        await shop.pace.tick()
        shop.chain.advance(seconds=299)
        await shop.pace.tick()
        assert (await shop.view(brief)).state is SessionState.ACTIVE
        shop.chain.advance(seconds=10)
        await shop.pace.tick()
        await shop.settled(brief)


@pytest.mark.row(
    "F08",
    attack="an outage of the chain, up to a third of the grace period",
    twin="open sessions are served until then",
)
async def test_a_service_that_has_not_seen_the_chain_for_long_sells_nothing(shop: Shop) -> None:
    """F32: up to a third of the grace period it goes on (F08), then it stops."""
    opening = await shop.opened()
    shop.chain.down = True
    shop.chain.advance(seconds=300)
    assert (await shop.use(opening)).status_code == 200
    shop.chain.advance(seconds=1)
    answer = await shop.use(opening)
    assert problem(answer).type == ProblemType.CHAIN_UNAVAILABLE
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    health = await shop.http.get("/api/health")
    assert (health.status_code, list(health.json()["problems"])) == (503, ["chain"])
    shop.chain.down = False
    await shop.pace.tick()
    assert (await shop.use(opening)).status_code == 200
    assert len(shop.upstream.asked) == 2


@pytest.mark.row(
    "F08",
    attack="a chain that is away for 15 minutes under open sessions, minute by minute",
    twin="served from their balance all the while, nothing credited meanwhile",
)
async def test_an_outage_of_fifteen_minutes_stops_no_open_session(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F08, with the grace period that `init` writes: an hour."""
    raw_settings["offers"]["standard"]["grace_period"] = 3600
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening, late = await shop.opened(), shop.agent.open(await shop.challenge())
        topping_up = opening.topping_up(DEPOSIT, (await chain.latest_blockhash()).blockhash)
        chain.down = True
        for minute in range(1, 16):
            chain.advance(seconds=60)
            await shop.pace.tick()
            served = await shop.use(opening)
            assert (served.status_code, receipt(served).spent) == (200, minute * PRICE)
            for uncredited in (topping_up, late.header):
                assert problem(await shop.send(uncredited)).status in (402, 503)
        books = await shop.ledger.session(str(opening.action.channel_id))
        assert books is not None
        assert (books.deposit, books.spent) == (DEPOSIT, 15 * PRICE)
        opened = await shop.ledger.sessions(states=[SessionState.ACTIVE])
        assert [one.session_id for one in opened] == [books.session_id]
        chain.down = False
        await shop.pace.tick()
        assert (await shop.use(opening)).status_code == 200
        closed = await shop.send(opening.close())
        assert (receipt(closed).spent, receipt(closed).refunded) == (16 * PRICE, DEPOSIT - 16 * PRICE)


@pytest.mark.row("F11", attack="a restart", twin="sessions, balances and stored answers survive")
async def test_a_restarted_service_goes_on_where_it_stopped(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F01, F11: sessions, balances, stored answers and known deposits survive."""
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        first = await shop.use(opening, key="k")
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        again = await shop.use(opening, key="k")
        assert (again.text, again.headers["payment-receipt"]) == (first.text, first.headers["payment-receipt"])
        assert shop.upstream.asked == []
        assert (await shop.use(opening)).status_code == 200
        replay = shop.agent.open(await shop.challenge(), salt=opening.params.salt, open_slot=opening.params.open_slot)
        assert replay.action.channel_id == opening.action.channel_id
        assert problem(await shop.send(replay.header)).type == ProblemType.DEPOSIT_REPLAYED
        assert (await shop.send(opening.close())).json()["spent"] == str(2 * PRICE)


async def test_a_service_that_stops_lets_running_requests_finish(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        asked.set()
        await go.wait()
        await reply(send, b"done")

    upstream = Upstream()
    async with opened_shop(chain, mint, raw_settings, tmp_path, upstream) as shop:
        opening = await shop.opened()
        upstream.app = app
        running = asyncio.ensure_future(shop.use(opening, key="k"))
        await asked.wait()
        asyncio.get_running_loop().call_later(0.05, go.set)
    assert (await running).text == "done"
    upstream.app = None
    async with opened_shop(chain, mint, raw_settings, tmp_path, upstream) as shop:
        assert (await shop.use(opening, key="k")).text == "done"
        assert (await shop.view(opening)).spent == PRICE


@pytest.mark.row("F11", attack="stopped while a request runs", twin="undelivered and uncharged")
async def test_a_service_that_must_stop_gives_up_what_runs_too_long_uncharged(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F11: undelivered and uncharged."""
    asked = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        asked.set()
        await asyncio.Event().wait()

    raw_settings["limits"]["shutdown_seconds"] = 1
    upstream = Upstream()
    async with opened_shop(chain, mint, raw_settings, tmp_path, upstream) as shop:
        opening = await shop.opened()
        upstream.app = app
        running = asyncio.ensure_future(shop.use(opening, key="k"))
        await asked.wait()
    [gone] = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(gone, asyncio.CancelledError)
    upstream.app = None
    async with opened_shop(chain, mint, raw_settings, tmp_path, upstream) as shop:
        assert (await shop.view(opening)).spent == 0
        assert (await shop.use(opening, key="k")).status_code == 200


@pytest.mark.row("F26", attack="another operator's books", twin="its own are served")
async def test_a_service_does_not_start_on_another_operators_books(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F26: it could neither receipt nor settle their sessions."""
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        await shop.opened()
    (tmp_path / "operator.json").unlink()
    write_private(tmp_path / "operator.json", keypair_text(Keypair()))
    with pytest.raises(SettingsError, match="belongs to operator"):
        async with opened_shop(chain, mint, raw_settings, tmp_path):
            pytest.fail("it did start")


async def test_there_must_be_something_to_meter(mint: Pubkey, chain: FakeChain) -> None:
    with pytest.raises(SettingsError, match="nothing to meter"):
        create_app(settings(mint), surroundings=Surroundings(chain=chain))


@pytest.mark.row("F08", attack="the chain away at start", twin="sells once it is seen")
async def test_a_service_starts_without_the_chain_and_sells_once_it_sees_it(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F08. No 402 goes out without a challenge, so there is none while no blockhash is known."""
    chain.down = True
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        answer = await shop.http.get("/paid/x")
        assert (answer.status_code, problem(answer).type) == (503, ProblemType.CHAIN_UNAVAILABLE)
        assert "www-authenticate" not in answer.headers
        chain.down = False
        chain.advance(seconds=int(answer.headers["retry-after"]))
        await shop.pace.tick()
        assert (await shop.use(await shop.opened())).status_code == 200


@pytest.mark.row("F23", attack="books that cannot be written", twin="neither an answer nor a charge")
async def test_when_the_ledger_cannot_be_written_nothing_is_sold(shop: Shop) -> None:
    """F23: neither an answer nor a charge."""
    opening = await shop.opened()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await shop.ledger.aclose()
        await reply(send, b"withheld")

    shop.upstream.app = app
    for _ in range(2):
        answer = await shop.use(opening)
        assert (answer.status_code, problem(answer).type) == (503, ProblemType.SERVICE_UNAVAILABLE)
        assert answer.headers["retry-after"] == "30"
        assert "withheld" not in answer.text
    health = await shop.http.get("/api/health")
    assert (health.status_code, "ledger" in health.json()["problems"]) == (503, True)


async def test_a_request_whose_reservation_is_lost_is_not_answered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """No response leaves without its charge committed."""

    async def lost(_commit: Commit) -> CommitResult:
        return CommitResult(CommitOutcome.LOST)

    opening = await shop.opened()
    monkeypatch.setattr(shop.ledger, "commit", lost)
    answer = await shop.use(opening)
    assert problem(answer).type == ProblemType.SERVICE_UNAVAILABLE
    assert "echo" not in answer.text
    monkeypatch.undo()
    assert (await shop.use(opening)).status_code == 200
    assert (await shop.view(opening)).spent == PRICE


async def test_an_upstream_that_is_away_is_told_on_free_and_priced_paths_alike(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    raw_settings["service"]["upstream"] = "http://127.0.0.1:1"
    write_private(tmp_path / "operator.json", keypair_text(OPERATOR))
    around = Surroundings(chain=chain, clock=ChainClock(chain), timer=chain, pace=Pace())
    app = create_app(settings_from(raw_settings, {}, base=tmp_path), surroundings=around)
    async with (
        app.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as http,
    ):
        free = await http.get("/free")
        assert (free.status_code, parse_problem(free.content).type) == (502, ProblemType.UPSTREAM_UNAVAILABLE)
        opening = Agent(AGENT).open((await http.get("/paid/x")).headers["www-authenticate"])
        assert (await http.get("/paid/x", headers={"Authorization": opening.header})).status_code == 200
        priced = await http.get("/paid/x", headers={"Authorization": opening.use()})
        assert priced.status_code == 502
        assert receipt(priced).spent == 0


async def test_a_request_to_a_service_that_does_not_run_says_so(mint: Pubkey, tmp_path: Path) -> None:
    write_private(tmp_path / "operator.json", keypair_text(OPERATOR))
    app = create_app(settings_from(table(mint), {}, base=tmp_path), upstream=Upstream())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as http:
        with pytest.raises(RuntimeError, match="lifespan"):
            await http.get("/paid/x")
