"""Every bad deposit is refused by its own problem and credits nothing; its honest twin activates (F01 to F06)."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer

from retainer.chain.base import SimulationResult, TransactionInfo
from retainer.chain.fake import FakeChain, Fate
from retainer.chain.testing import create_mint, mint_to
from retainer.protocol.challenges import parse_challenge_headers
from retainer.protocol.instructions import request_close
from retainer.protocol.pda import derive_vault
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from tests.integration.conftest import AGENT, OPERATOR, Shop, opened_shop, problem
from tests.shop import DEPOSIT, GRACE, MINIMUM, PRICE, Agent, Opening, self_sent

STRANGER = Keypair.from_seed(b"s" * 32)


async def refused(shop: Shop, opening: Opening, expected: ProblemType) -> None:
    """The deposit is refused as `expected`, is not served, and its honest twin is."""
    answer = await shop.send(opening.header)
    assert problem(answer).type == expected, answer.text
    assert parse_challenge_headers([answer.headers["www-authenticate"]])
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is None or record.state in (SessionState.PENDING, SessionState.ABANDONED)
    used = await shop.use(opening)
    assert used.status_code in (402, 409)
    assert shop.upstream.asked == []
    await shop.use(await shop.opened())
    assert len(shop.upstream.asked) == 1


@pytest.mark.parametrize(
    ("spoiled", "expected"),
    [
        ({"payee": STRANGER.pubkey()}, ProblemType.DEPOSIT_WRONG_RECIPIENT),
        ({"operator": STRANGER.pubkey()}, ProblemType.DEPOSIT_TERMS_MISMATCH),
        ({"grace_period": GRACE + 1}, ProblemType.DEPOSIT_TERMS_MISMATCH),
        ({"expires_at": 0}, ProblemType.DEPOSIT_TERMS_MISMATCH),
        ({"price_per_unit": PRICE - 1}, ProblemType.DEPOSIT_TERMS_MISMATCH),
        ({"sla_hash": bytes(32)}, ProblemType.DEPOSIT_TERMS_MISMATCH),
        ({"deposit": MINIMUM - 1}, ProblemType.DEPOSIT_TOO_SMALL),
        ({"deposit": 100_000_001}, ProblemType.DEPOSIT_TERMS_MISMATCH),
    ],
)
@pytest.mark.parametrize("sender", ["service", "agent"])
@pytest.mark.row(
    "F04",
    attack="a deposit too small, to another recipient, or on other terms, sponsored or self-sent",
    twin="the deposit on the offered terms activates",
)
async def test_a_deposit_on_other_terms_is_refused_whoever_sends_it(
    shop: Shop, spoiled: dict[str, Any], expected: ProblemType, sender: str
) -> None:
    if spoiled.get("deposit", 0) > DEPOSIT:
        authority = Keypair.from_seed(b"m" * 32)
        await mint_to(shop.chain, authority, owner=AGENT.pubkey(), mint=shop.mint, amount=10**9, clock=shop.chain)
    opening = shop.agent.open(await shop.challenge(), **spoiled)
    await refused(shop, await self_sent(shop.chain, opening) if sender == "agent" else opening, expected)


@pytest.mark.row("F04", attack="a lookalike mint of the same decimals", twin="the offered mint activates")
async def test_a_deposit_in_a_lookalike_token_is_foreign(shop: Shop) -> None:
    """C33, F04: same decimals, other mint."""
    authority = Keypair.from_seed(b"l" * 32)
    shop.chain.fund(authority.pubkey())
    lookalike = await create_mint(shop.chain, authority, clock=shop.chain)
    account = await mint_to(
        shop.chain, authority, owner=AGENT.pubkey(), mint=lookalike, amount=DEPOSIT, clock=shop.chain
    )
    opening = shop.agent.open(await shop.challenge(), mint=lookalike, payer_token=account)
    await refused(shop, await self_sent(shop.chain, opening), ProblemType.DEPOSIT_FOREIGN)


@pytest.mark.row(
    "F04", attack="the same bytes in an account of another program", twin="our program's account activates"
)
async def test_a_session_of_another_program_is_foreign(shop: Shop) -> None:
    """F04: the same bytes at the right address, owned by another program."""
    opening = shop.agent.open(await shop.challenge())
    pointed = await self_sent(shop.chain, opening)
    info = await shop.chain.account(opening.action.channel_id)
    assert info is not None
    shop.chain.put(info.address, owner=STRANGER.pubkey(), data=info.data)
    await refused(shop, pointed, ProblemType.DEPOSIT_FOREIGN)


@pytest.mark.row("F04", attack="the same instruction of another program id", twin="our program's opening activates")
async def test_an_opening_of_another_program_is_foreign(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge(), program_id=STRANGER.pubkey())
    honest = shop.agent.open(await shop.challenge())
    claimed = honest.claiming(transaction=opening.action.transaction)
    await refused(shop, claimed, ProblemType.DEPOSIT_FOREIGN)


async def test_a_transaction_that_opened_something_else_is_foreign(shop: Shop) -> None:
    """Pointing at another's payment credits nothing."""
    opening = shop.agent.open(await shop.challenge())
    blockhash = (await shop.chain.latest_blockhash()).blockhash
    pay = transfer(TransferParams(from_pubkey=AGENT.pubkey(), to_pubkey=OPERATOR.pubkey(), lamports=1_000_000))
    signature = await shop.chain.send(shop.agent.sign([pay], blockhash))
    await refused(shop, opening.self_sent(Signature.from_string(signature)), ProblemType.DEPOSIT_FOREIGN)


@pytest.mark.row("F05", attack="a transaction that only mentions the session", twin="the one that opened it activates")
async def test_a_transaction_that_only_mentions_the_session_is_foreign(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    blockhash = (await shop.chain.latest_blockhash()).blockhash
    pay = transfer(TransferParams(from_pubkey=AGENT.pubkey(), to_pubkey=opening.action.channel_id, lamports=10_000_000))
    signature = await shop.chain.send(shop.agent.sign([pay], blockhash))
    await refused(shop, opening.self_sent(Signature.from_string(signature)), ProblemType.DEPOSIT_FOREIGN)


@pytest.mark.row(
    "F07", attack="a node that hands out nonsense as the transaction", twin="the transaction itself activates"
)
async def test_a_transaction_that_cannot_be_read_is_foreign(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """F07: whatever a node hands out, it is no deposit."""
    pointed = await self_sent(shop.chain, shop.agent.open(await shop.challenge()))
    landed = await shop.chain.transaction(str(pointed.action.signature))
    assert landed is not None

    async def garbled(_signature: str, **_options: object) -> TransactionInfo:
        return replace(landed, raw=b"nonsense")

    monkeypatch.setattr(shop.chain, "transaction", garbled)
    assert problem(await shop.send(pointed.header)).type == ProblemType.DEPOSIT_FOREIGN
    monkeypatch.undo()
    assert (await shop.send(pointed.header)).status_code == 200


@pytest.mark.row("F03", attack="a transaction that failed on chain as deposit", twin="an honest deposit activates")
async def test_a_deposit_whose_transaction_failed_is_refused(shop: Shop) -> None:
    """F03: it landed, it has a signature, and it moved nothing."""
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.FAILED)
    await refused(shop, await self_sent(shop.chain, opening), ProblemType.DEPOSIT_FAILED)


async def test_a_deposit_that_would_fail_is_refused_before_it_is_sent_and_leaves_no_row(shop: Shop) -> None:
    poor = Agent(Keypair())
    shop.chain.fund(poor.key)
    opening = poor.open(await shop.challenge())
    sent = len(shop.chain.sent)
    answer = await shop.send(opening.header)
    assert problem(answer).type == ProblemType.DEPOSIT_FAILED
    assert len(shop.chain.sent) == sent
    assert await shop.ledger.session(str(opening.action.channel_id)) is None


async def test_a_deposit_that_fails_when_it_lands_is_refused(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.FAILED, number=6152)
    answer = await shop.send(opening.header)
    assert problem(answer).type == ProblemType.DEPOSIT_FAILED
    assert "slot" in problem(answer).detail


async def test_a_deposit_that_the_node_refuses_to_send_can_be_repeated(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.REFUSED)
    assert problem(await shop.send(opening.header)).type == ProblemType.DEPOSIT_FAILED
    assert (await shop.send(opening.header)).status_code == 200


async def test_an_unconfirmed_deposit_waits_and_activates_when_it_lands(shop: Shop) -> None:
    """PENDING until then: not served, not forgotten, continued by the same credential."""
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.LATE, slots=100)
    answer = await shop.send(opening.header)
    assert problem(answer).type == ProblemType.DEPOSIT_UNCONFIRMED
    assert answer.headers["retry-after"] == "2"
    assert (await shop.view(opening)).state is SessionState.PENDING
    assert problem(await shop.use(opening)).type == ProblemType.DEPOSIT_UNCONFIRMED
    assert problem(await shop.send(opening.close())).type == ProblemType.DEPOSIT_UNCONFIRMED
    shop.chain.advance(slots=100)
    assert (await shop.send(opening.header)).status_code == 200
    assert (await shop.use(opening)).status_code == 200


async def test_a_deposit_that_was_lost_on_its_way_is_sent_again_by_the_repeated_credential(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.LOST_UNANSWERED)
    assert problem(await shop.send(opening.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
    assert (await shop.send(opening.header)).status_code == 200


async def test_a_deposit_that_landed_unanswered_activates(shop: Shop) -> None:
    """F14."""
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.LANDED_UNANSWERED)
    assert (await shop.send(opening.header)).status_code == 200


@pytest.mark.row("F21", attack="openings that name unknown transactions", twin="no row is kept")
async def test_a_signature_that_nobody_knows_is_unconfirmed_and_costs_the_service_no_row(shop: Shop) -> None:
    """F21."""
    opening = shop.agent.open(await shop.challenge())
    pointed = opening.self_sent(AGENT.sign_message(b"no transaction"))
    assert problem(await shop.send(pointed.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
    assert await shop.ledger.session(str(opening.action.channel_id)) is None


@pytest.mark.row("F01", attack="one deposit presented by 32 connections at once", twin="one session, credited once")
async def test_one_deposit_opens_one_session_however_many_ask_at_once(shop: Shop) -> None:
    """F01: 32 connections with one credential."""
    opening = shop.agent.open(await shop.challenge())
    answers = await asyncio.gather(*(shop.send(opening.header) for _ in range(32)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["deposit"] for answer in answers} == {str(DEPOSIT)}
    assert len(await shop.ledger.sessions()) == 1


async def test_a_transaction_that_lands_while_it_is_simulated_opens_its_session(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same credential on two connections: what the slower one simulates has happened by then."""
    opening = shop.agent.open(await shop.challenge())
    simulate = shop.chain.simulate

    async def landed_meanwhile(raw: bytes) -> SimulationResult:
        await shop.chain.send(raw)
        return await simulate(raw)

    monkeypatch.setattr(shop.chain, "simulate", landed_meanwhile)
    assert (await shop.send(opening.header)).status_code == 200
    assert (await shop.view(opening)).deposit == DEPOSIT


@pytest.mark.row(
    "F01",
    attack="a deposit presented again for another challenge, also after close and restart",
    twin="its own session goes on",
)
async def test_a_deposit_is_not_accepted_again_for_another_challenge(shop: Shop) -> None:
    """F01: neither while it is open, nor once it is closed, nor by a race, nor after a restart."""
    opening = await shop.opened()
    signature = Signature.from_string((await shop.view(opening)).creation_signature or "")
    other = shop.agent.open(await shop.challenge(), salt=opening.params.salt, open_slot=opening.params.open_slot)
    assert other.action.channel_id == opening.action.channel_id
    replays = [other, other.self_sent(signature)]
    for replay in replays:
        assert problem(await shop.send(replay.header)).type == ProblemType.DEPOSIT_REPLAYED
    await shop.send(opening.close())
    for replay in replays:
        assert problem(await shop.send(replay.header)).type == ProblemType.DEPOSIT_REPLAYED
    assert problem(await shop.send(opening.header)).type == ProblemType.SESSION_CLOSED


@pytest.mark.row("F01", attack="two challenges race for one deposit", twin="one of them opens")
async def test_two_challenges_racing_for_one_deposit_open_one_session(shop: Shop) -> None:
    """F01. A stock opening commits to no terms, so that its account fits both."""
    first = shop.agent.open(await shop.challenge(), stock=True)
    second = shop.agent.open(
        await shop.challenge(), stock=True, salt=first.params.salt, open_slot=first.params.open_slot
    )
    assert first.action.channel_id == second.action.channel_id
    answers = await asyncio.gather(*(shop.send(opening.header) for opening in (first, second) * 8))
    winners = {index % 2 for index, answer in enumerate(answers) if answer.status_code == 200}
    assert len(winners) == 1
    losers = [answer for index, answer in enumerate(answers) if index % 2 not in winners]
    # One that was being sent meanwhile fails on chain instead; asked again, it is told why.
    assert {problem(answer).type for answer in losers} <= {ProblemType.DEPOSIT_REPLAYED, ProblemType.DEPOSIT_FAILED}
    again = await shop.send((second if 0 in winners else first).header)
    assert problem(again).type == ProblemType.DEPOSIT_REPLAYED
    assert len(await shop.ledger.sessions()) == 1


async def test_a_deposit_that_landed_while_nobody_asked_still_opens_its_session(shop: Shop) -> None:
    """The slot window limits landing, not asking again."""
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.LATE, slots=100)
    assert problem(await shop.send(opening.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
    shop.chain.advance(slots=2000)
    assert (await shop.send(opening.header)).status_code == 200


async def test_a_deposit_that_can_no_longer_land_is_not_sent(shop: Shop) -> None:
    """C43."""
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.DROPPED)
    assert problem(await shop.send(opening.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
    shop.chain.advance(slots=2000)
    sent = len(shop.chain.sent)
    assert problem(await shop.send(opening.header)).type == ProblemType.DEPOSIT_TERMS_MISMATCH
    assert len(shop.chain.sent) == sent


async def test_a_deposit_that_was_given_up_says_how_to_get_it_back(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.DROPPED)
    await shop.send(opening.header)
    await shop.ledger.abandon(str(opening.action.channel_id), "a test", shop.clock.now())
    answer = await shop.send(opening.header)
    assert problem(answer).type == ProblemType.DEPOSIT_FAILED
    assert "withdraw" in problem(answer).detail
    assert problem(await shop.send(opening.close())).type == ProblemType.SESSION_CLOSED
    assert problem(await shop.use(opening)).type == ProblemType.SESSION_CLOSED


@pytest.mark.parametrize("sender", ["service", "agent"])
async def test_a_session_that_is_gone_again_is_not_opened(shop: Shop, sender: str) -> None:
    opening = shop.agent.open(await shop.challenge())
    pointed = await self_sent(shop.chain, opening)
    shop.chain.remove(opening.action.channel_id)
    answer = await shop.send(pointed.header if sender == "agent" else opening.header)
    assert problem(answer).type in (ProblemType.DEPOSIT_FOREIGN, ProblemType.DEPOSIT_UNCONFIRMED)
    assert await shop.ledger.sessions() == []


async def test_a_session_whose_escrow_is_missing_is_foreign(shop: Shop) -> None:
    pointed = await self_sent(shop.chain, shop.agent.open(await shop.challenge()))
    shop.chain.remove(derive_vault(pointed.action.channel_id)[0])
    await refused(shop, pointed, ProblemType.DEPOSIT_FOREIGN)


async def test_a_challenge_of_an_offer_that_is_no_longer_made_is_void(
    mint: Pubkey, chain: FakeChain, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = shop.agent.open(await shop.challenge())
    raw_settings["offers"] = {"renamed": raw_settings["offers"]["standard"]}
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        assert problem(await shop.send(opening.header)).type == ProblemType.CHALLENGE_EXPIRED


async def test_a_session_whose_payer_wants_out_is_not_opened(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    pointed = await self_sent(shop.chain, opening)
    blockhash = (await shop.chain.latest_blockhash()).blockhash
    leave = request_close(payer=AGENT.pubkey(), session=opening.action.channel_id)
    await shop.chain.send(shop.agent.sign([leave], blockhash))
    await refused(shop, pointed, ProblemType.SESSION_CLOSING)


@pytest.mark.parametrize("break_it", ["stranger", "absent", "other channel", "other challenge"])
async def test_an_opening_needs_the_payers_own_proof_for_this_challenge(shop: Shop, break_it: str) -> None:
    opening = shop.agent.open(await shop.challenge())
    shop.chain.advance(seconds=3)
    other = shop.agent.open(await shop.challenge())
    proof = replace(opening.proof, signature=STRANGER.sign_message(b"x"))
    spoiled = {
        "stranger": opening.claiming(authentication=proof),
        "absent": opening.claiming(authentication=None),
        "other channel": opening.claiming(authentication=replace(other.proof, challenge_id=opening.challenge.id)),
        "other challenge": opening.claiming(authentication=other.proof),
    }[break_it]
    answer = await shop.send(spoiled.header)
    assert problem(answer).type == ProblemType.VERIFICATION_FAILED
    assert await shop.ledger.sessions() == []


async def test_while_the_chain_is_away_nothing_is_opened_and_nothing_is_lost(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    shop.chain.down = True
    answer = await shop.send(opening.header)
    assert problem(answer).type == ProblemType.CHAIN_UNAVAILABLE
    assert answer.status_code == 503
    shop.chain.down = False
    assert (await shop.send(opening.header)).status_code == 200
