"""A sponsor pays for deposits: what it signs is theirs alone, passes simulation, and costs no more than was set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from solders.compute_budget import set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from retainer.chain.fake import FakeChain, Fate
from retainer.protocol.instructions import open_with_terms, request_close
from retainer.protocol.problems import ProblemType
from retainer_provider.keys import keypair_text, load_keys, write_private
from retainer_provider.settings import SettingsError, settings_from
from tests.integration.conftest import AGENT, OPERATOR, Shop, problem, receipt
from tests.shop import DEPOSIT, MINIMUM, PRICE, Opening

SPONSOR = Keypair.from_seed(b"f" * 32)
STRANGER = Keypair.from_seed(b"s" * 32)


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any], chain: FakeChain, tmp_path: Path) -> dict[str, Any]:
    write_private(tmp_path / "sponsor.json", keypair_text(SPONSOR))
    raw_settings["service"]["sponsor_keypair"] = "sponsor.json"
    chain.fund(SPONSOR.pubkey())
    return raw_settings


async def lamports(shop: Shop, owner: Pubkey) -> int:
    info = await shop.chain.account(owner)
    assert info is not None
    return info.lamports


async def blockhash(shop: Shop) -> Hash:
    return (await shop.chain.latest_blockhash()).blockhash


async def test_a_sponsored_session_costs_its_agent_no_sol(shop: Shop) -> None:
    """Opened and topped up for two fees of two signatures each; the rent comes back with the close."""
    agent, sponsor = await lamports(shop, AGENT.pubkey()), await lamports(shop, SPONSOR.pubkey())
    opening = await shop.opened()
    request = opening.challenge.session_request()
    assert (request.fee_payer, request.fee_payer_key) == (True, SPONSOR.pubkey())
    added = opening.topping_up(MINIMUM, await blockhash(shop), fee_payer=SPONSOR.pubkey())
    for _ in range(2):
        assert (await shop.send(added)).json()["deposit"] == str(DEPOSIT + MINIMUM)
    assert (await shop.use(opening)).status_code == 200
    closed = receipt(await shop.send(opening.close()))
    assert (closed.spent, closed.refunded) == (PRICE, DEPOSIT + MINIMUM - PRICE)
    assert await lamports(shop, AGENT.pubkey()) == agent
    assert await lamports(shop, SPONSOR.pubkey()) == sponsor - 2 * 2 * 5000


async def test_an_agent_may_pay_for_itself(shop: Shop) -> None:
    sponsor = await lamports(shop, SPONSOR.pubkey())
    opening = await shop.opened(rent_payer=AGENT.pubkey())
    assert (await shop.send(opening.topping_up(1, await blockhash(shop)))).status_code == 200
    assert await lamports(shop, SPONSOR.pubkey()) == sponsor


async def test_a_sponsored_opening_that_was_lost_is_the_same_transaction_again(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.DROPPED)
    assert problem(await shop.send(opening.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
    assert (await shop.send(opening.header)).status_code == 200
    first, second = shop.chain.sent[-2:]
    assert first == second


def a_transfer(_: Opening) -> Instruction:
    return transfer(TransferParams(from_pubkey=SPONSOR.pubkey(), to_pubkey=AGENT.pubkey(), lamports=1))


def an_exit(opening: Opening) -> Instruction:
    return request_close(payer=AGENT.pubkey(), session=opening.action.channel_id)


def a_high_fee(_: Opening) -> Instruction:
    return set_compute_unit_price(10_000_000)


@pytest.mark.parametrize("beside", [a_transfer, an_exit, a_high_fee])
async def test_the_sponsor_signs_nothing_beside_the_deposit(
    shop: Shop, beside: Callable[[Opening], Instruction]
) -> None:
    sponsor = await lamports(shop, SPONSOR.pubkey())
    opening = shop.agent.open(await shop.challenge())
    recent = opening.challenge.session_request().recent_blockhash
    raw = shop.agent.sign([open_with_terms(opening.params), beside(opening)], recent, SPONSOR.pubkey())
    answer = await shop.send(opening.claiming(transaction=raw).header)
    assert problem(answer).type == ProblemType.VERIFICATION_FAILED
    assert await lamports(shop, SPONSOR.pubkey()) == sponsor
    assert (await shop.send(opening.header)).status_code == 200


@pytest.mark.parametrize("other", [OPERATOR, STRANGER])
async def test_only_the_sponsors_signature_may_be_missing(shop: Shop, other: Keypair) -> None:
    opening = shop.agent.open(await shop.challenge(), rent_payer=other.pubkey())
    assert problem(await shop.send(opening.header)).type == ProblemType.VERIFICATION_FAILED
    assert await shop.chain.account(opening.action.channel_id) is None


async def test_what_fails_in_simulation_costs_the_sponsor_nothing(shop: Shop) -> None:
    sponsor = await lamports(shop, SPONSOR.pubkey())
    broke = shop.agent.open(await shop.challenge(), deposit=50_000_000)
    assert problem(await shop.send(broke.header)).type == ProblemType.DEPOSIT_FAILED
    opening = await shop.opened(rent_payer=AGENT.pubkey())
    added = opening.topping_up(50_000_000, await blockhash(shop), fee_payer=SPONSOR.pubkey())
    assert problem(await shop.send(added)).type == ProblemType.DEPOSIT_FAILED
    assert await lamports(shop, SPONSOR.pubkey()) == sponsor


async def test_small_top_ups_are_not_sponsored(shop: Shop) -> None:
    """Else a unit at a time would drain the sponsor."""
    opening = await shop.opened()
    small = opening.topping_up(MINIMUM - 1, await blockhash(shop), fee_payer=SPONSOR.pubkey())
    assert problem(await shop.send(small)).type == ProblemType.DEPOSIT_TOO_SMALL
    assert (await shop.view(opening)).deposit == DEPOSIT


def test_a_sponsor_that_could_settle_is_refused(raw_settings: dict[str, Any], tmp_path: Path) -> None:
    write_private(tmp_path / "operator.json", keypair_text(OPERATOR))
    for change in ({"sponsor_keypair": "operator.json"}, {"payee": str(SPONSOR.pubkey())}):
        raw = {**raw_settings, "service": {**raw_settings["service"], **change}}
        with pytest.raises(SettingsError, match="only pays fees"):
            load_keys(settings_from(raw, {}, base=tmp_path).service)
