"""Sessions whose money the service itself holds: what counts as a deposit, and what goes back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.chain.fake import FakeChain, Fate
from retainer.chain.testing import create_ata, create_mint, mint_to, token_balance
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.challenges import parse_challenge_headers
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID
from retainer.protocol.pda import derive_ata
from retainer.protocol.problems import ProblemType
from retainer_provider.app import create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.books.outcomes import ExpectOutcome
from retainer_provider.books.records import Custody, ExpectedTransfer
from retainer_provider.keys import keypair_text, write_private
from retainer_provider.settings import SettingsError, settings_from
from tests.custody import carrying, custodial, topping_up, transfer_of
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, Upstream, opened_shop, problem, receipt
from tests.shop import DEPOSIT, PRICE, Opening, table

PRINCIPAL = Keypair.from_seed(b"p" * 32)


@pytest.fixture
def raw_settings(mint: Pubkey) -> dict[str, Any]:
    return custodial(table(mint))


async def claimed(shop: Shop) -> Opening:
    """An honest custodial opening that nobody has seen yet."""
    return carrying(shop.agent.open(await shop.challenge()))


async def opened(shop: Shop) -> Opening:
    opening = await claimed(shop)
    answer = await shop.send(opening.header)
    assert answer.status_code == 200, answer.text
    return opening


async def balances(shop: Shop) -> tuple[int, int]:
    """What the agent has paid so far, and what the service has got."""
    held = [await token_balance(shop.chain, owner.pubkey(), shop.mint) for owner in (AGENT, OPERATOR)]
    return TOKENS - held[0], held[1] - TOKENS


async def test_the_challenge_says_who_holds_the_money(shop: Shop) -> None:
    request = parse_challenge_headers([await shop.challenge()])[0].session_request()
    assert not request.anchor_on_chain
    assert request.to_json()["methodDetails"]["anchorOnChain"] is False  # type: ignore[call-overload, index]


async def test_a_custodial_session_keeps_what_is_spent_and_sends_the_rest_back(shop: Shop) -> None:
    opening = await opened(shop)
    assert await balances(shop) == (DEPOSIT, DEPOSIT)
    for _ in range(30):
        assert (await shop.use(opening)).status_code == 200
    closed = await shop.send(opening.close())
    assert closed.status_code == 200, closed.text
    said = receipt(closed)
    assert (said.spent, said.refunded) == (240_000, 760_000)
    assert await balances(shop) == (240_000, 240_000)
    assert said.tx_hash is not None
    assert said.tx_hash in await shop.chain.signatures_for(opening.action.channel_id)


@pytest.mark.parametrize("fate", [Fate.LANDED_UNANSWERED, Fate.LOST_UNANSWERED, Fate.LATE, Fate.DROPPED, Fate.FAILED])
async def test_a_refund_pays_once_whatever_becomes_of_its_transaction(shop: Shop, fate: Fate) -> None:
    """F13, F14: no program would stop a second one."""
    opening = await opened(shop)
    await shop.use(opening)
    shop.chain.next_send(fate)
    answer = await shop.send(opening.close())
    for _ in range(20):
        if answer.status_code == 200:
            break
        answer = await shop.send(opening.close())
    assert (answer.status_code, receipt(answer).refunded) == (200, DEPOSIT - PRICE)
    assert await balances(shop) == (PRICE, PRICE)


async def test_what_is_spent_to_the_last_unit_closes_without_a_transaction(shop: Shop) -> None:
    opening = await opened(shop)
    for _ in range(DEPOSIT // PRICE):
        assert (await shop.use(opening)).status_code == 200
    sent = len(shop.chain.sent)
    closed = await shop.send(opening.close())
    assert (closed.status_code, closed.json()["state"]) == (200, "refunded")
    assert (receipt(closed).refunded, receipt(closed).tx_hash) == (0, None)
    assert len(shop.chain.sent) == sent


async def test_a_top_up_is_another_transfer_and_counts_once(shop: Shop) -> None:
    """F02."""
    opening = await opened(shop)
    header = topping_up(opening, DEPOSIT // 2, (await shop.chain.latest_blockhash()).blockhash)
    answers = await asyncio.gather(*(shop.send(header) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert (await shop.view(opening)).deposit == DEPOSIT + DEPOSIT // 2
    await shop.use(opening)
    closed = await shop.send(opening.close())
    assert receipt(closed).refunded == DEPOSIT + DEPOSIT // 2 - PRICE
    assert await balances(shop) == (PRICE, PRICE)


async def test_a_transfer_that_the_agent_sent_itself_opens_by_its_signature(shop: Shop) -> None:
    opening = await claimed(shop)
    assert opening.action.transaction is not None
    signature = await shop.chain.send(opening.action.transaction)
    answer = await shop.send(opening.self_sent(Signature.from_string(signature)).header)
    assert answer.status_code == 200, answer.text
    assert answer.json()["creationSignature"] == signature
    assert (await shop.use(opening)).status_code == 200


async def test_a_deposit_counts_only_when_it_is_final(shop: Shop) -> None:
    """F06: what a fork can take back must not be sent back."""
    opening = await claimed(shop)
    assert opening.action.transaction is not None
    await shop.chain.send(opening.action.transaction)
    before = await shop.chain.signature_status(str(Signature.from_bytes(opening.action.transaction[1:65])))
    assert before is not None
    assert before.commitment != "finalized"
    assert (await shop.send(opening.header)).status_code == 200
    after = await shop.chain.signature_status(str(Signature.from_bytes(opening.action.transaction[1:65])))
    assert after is not None
    assert after.commitment == "finalized"


async def test_a_deposit_serves_one_session(shop: Shop) -> None:
    """F01: shown for a second session, in turn and at once, it is refused and nothing is added."""
    first = await opened(shop)
    signature = Signature.from_bytes((first.action.transaction or b"")[1:65])
    others = [shop.agent.open(await shop.challenge()) for _ in range(4)]
    answers = await asyncio.gather(*(shop.send(other.self_sent(signature).header) for other in others))
    assert {problem(answer).type for answer in answers} == {ProblemType.DEPOSIT_FOREIGN}
    carried = [other.claiming(transaction=first.action.transaction).header for other in others]
    answers = await asyncio.gather(*map(shop.send, carried))
    assert {problem(answer).type for answer in answers} == {ProblemType.DEPOSIT_FOREIGN}
    assert await shop.ledger.session(str(others[0].action.channel_id)) is None
    again = await shop.send(first.header)
    assert (again.status_code, again.json()["deposit"]) == (200, str(DEPOSIT))


async def test_a_spent_deposit_opens_nothing_again(shop: Shop) -> None:
    """F01, after its session is over."""
    opening = await opened(shop)
    await shop.send(opening.close())
    assert problem(await shop.send(opening.header)).type is ProblemType.SESSION_CLOSED
    assert await balances(shop) == (0, 0)


async def test_a_transfer_with_anything_wrong_is_refused_and_moves_nothing(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    honest = transfer_of(opening).instruction()
    spoiled = {
        "amount": carrying(opening, amount=BaseUnits(DEPOSIT - 1)),
        "decimals": carrying(opening, decimals=5),
        "recipient": carrying(opening, recipient=AGENT.pubkey()),
        "session": carrying(opening, session=PRINCIPAL.pubkey()),
        "token program": carrying(opening, token_program=TOKEN_2022_PROGRAM_ID),
        "two transfers": carrying(opening, honest, honest),
        "an escrow's opening": opening,
        "blockhash": carrying(opening, blockhash=Hash.new_unique()),
    }
    for name, wrong in spoiled.items():
        answer = await shop.send(wrong.header)
        assert answer.status_code in (402, 403), name
        assert problem(answer).type in (ProblemType.DEPOSIT_FOREIGN, ProblemType.VERIFICATION_FAILED), name
    assert await balances(shop) == (0, 0)
    assert (await shop.send(carrying(opening).header)).status_code == 200


async def test_a_failed_transfer_opens_nothing(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge(), deposit=TOKENS + 1)
    answer = await shop.send(carrying(opening).header)
    assert problem(answer).type is ProblemType.DEPOSIT_FAILED
    assert await shop.ledger.session(str(opening.action.channel_id)) is None


async def test_another_ones_transfer_opens_nothing(shop: Shop) -> None:
    """The proof is the payer's: whoever merely saw the transfer on chain cannot spend it."""
    opening = await claimed(shop)
    assert opening.action.transaction is not None
    signature = await shop.chain.send(opening.action.transaction)
    thief = opening.self_sent(Signature.from_string(signature)).claiming(authentication=None)
    assert problem(await shop.send(thief.header)).type is ProblemType.VERIFICATION_FAILED


async def test_an_idle_session_is_refunded_by_the_sweeper(shop: Shop) -> None:
    opening = await opened(shop)
    await shop.use(opening)
    for _ in range(14):
        shop.chain.advance(seconds=299)
        await shop.pace.tick()
    record = await shop.settled(opening)
    assert (record.settled, record.refund, record.custody) == (PRICE, DEPOSIT - PRICE, Custody.PROVIDER)
    assert await balances(shop) == (PRICE, PRICE)


async def test_books_with_money_to_refund_are_not_served_without_its_key(
    shop: Shop, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    await opened(shop)
    raw_settings["service"]["payee"] = str(PRINCIPAL.pubkey())
    raw_settings["offers"]["standard"]["anchor_on_chain"] = True
    settings = settings_from(raw_settings, {}, base=tmp_path)
    app = create_app(settings, upstream=Upstream(), surroundings=Surroundings(chain=shop.chain, ledger=shop.ledger))
    with pytest.raises(SettingsError, match="refund_keypair"):
        async with app.running():
            pass


async def test_nothing_custodial_is_offered_without_the_refund_key(
    mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    write_private(tmp_path / "operator.json", keypair_text(OPERATOR))
    write_private(tmp_path / "payee.json", keypair_text(PRINCIPAL))
    raw_settings["service"]["payee"] = str(PRINCIPAL.pubkey())
    with pytest.raises(SettingsError, match="`refund_keypair`"):
        create_app(settings_from(raw_settings, {}, base=tmp_path), upstream=Upstream())
    raw_settings["service"]["refund_keypair"] = "operator.json"
    with pytest.raises(SettingsError, match="give the payee's keypair"):
        create_app(settings_from(raw_settings, {}, base=tmp_path), upstream=Upstream())
    raw_settings["service"]["refund_keypair"] = "payee.json"
    assert create_app(settings_from(raw_settings, {}, base=tmp_path), upstream=Upstream()) is not None
    raw_settings["offers"]["standard"]["voucher_signer"] = "client"
    with pytest.raises(SettingsError, match="no voucher limits you"):
        settings_from(raw_settings, {}, base=tmp_path)


async def close_token_account(shop: Shop, opening: Opening) -> None:
    """The agent's, emptied elsewhere before."""
    shop.chain.remove(derive_ata(AGENT.pubkey(), shop.mint, opening.params.token_program))


async def test_a_payer_without_token_account_delays_its_own_refund(shop: Shop) -> None:
    opening = await opened(shop)
    await shop.use(opening)
    await close_token_account(shop, opening)
    assert (await shop.send(opening.close())).json()["state"] == "closing"
    await create_ata(shop.chain, AGENT, owner=AGENT.pubkey(), mint=shop.mint, clock=shop.chain)
    assert receipt(await shop.send(opening.close())).refunded == DEPOSIT - PRICE
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == DEPOSIT - PRICE


async def test_or_gets_one_where_the_policy_pays_for_it(chain: FakeChain, mint: Pubkey, tmp_path: Path) -> None:
    raw = custodial(table(mint))
    raw["settlement"] = {"pay_for_accounts": True}
    async with opened_shop(chain, mint, raw, tmp_path) as shop:
        opening = await opened(shop)
        await shop.use(opening)
        await close_token_account(shop, opening)
        assert receipt(await shop.send(opening.close())).refunded == DEPOSIT - PRICE
        assert await token_balance(shop.chain, AGENT.pubkey(), mint) == DEPOSIT - PRICE


async def test_a_signature_registered_by_one_session_is_refused_to_another(shop: Shop) -> None:
    """F01, in the books themselves: even where the transfer fits."""
    first, second = await opened(shop), await claimed(shop)
    signature = str(Signature.from_bytes((second.action.transaction or b"")[1:65]))
    taken = ExpectedTransfer(signature, DEPOSIT, 10_000)
    assert await shop.ledger.expect_transfer(str(first.action.channel_id), taken) is ExpectOutcome.EXPECTED
    assert problem(await shop.send(second.header)).type is ProblemType.DEPOSIT_REPLAYED
    assert await balances(shop) == (DEPOSIT, DEPOSIT)


async def test_a_token_2022_session_works_the_same(chain: FakeChain, tmp_path: Path) -> None:
    authority = Keypair.from_seed(b"2" * 32)
    chain.fund(authority.pubkey())
    mint = await create_mint(chain, authority, token_program=TOKEN_2022_PROGRAM_ID, clock=chain)
    for owner in (AGENT.pubkey(), OPERATOR.pubkey()):
        await mint_to(
            chain, authority, owner=owner, mint=mint, amount=TOKENS, token_program=TOKEN_2022_PROGRAM_ID, clock=chain
        )
    raw = custodial(table(mint))
    raw["offers"]["standard"]["token_program"] = str(TOKEN_2022_PROGRAM_ID)
    async with opened_shop(chain, mint, raw, tmp_path) as shop:
        opening = await opened(shop)
        await shop.use(opening)
        assert receipt(await shop.send(opening.close())).refunded == DEPOSIT - PRICE
        held = await token_balance(chain, AGENT.pubkey(), mint, token_program=TOKEN_2022_PROGRAM_ID)
        assert held == TOKENS - PRICE
