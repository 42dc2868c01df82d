"""What is unsettled never exceeds for long what the offer leaves at risk: it is paid out meanwhile."""

from typing import Any

import pytest

from retainer.chain.base import Commitment
from retainer.chain.sessions import session_account
from retainer.chain.testing import token_balance
from retainer.protocol.session import SessionAccount
from tests.integration.conftest import OPERATOR, TOKENS, Shop, receipt
from tests.shop import DEPOSIT, PRICE, Opening


@pytest.fixture(params=["operator", "client"])
def raw_settings(raw_settings: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """More than two requests unsettled are too many."""
    raw_settings["offers"]["standard"] |= {"settle_above": "0.016", "voucher_signer": request.param}
    return raw_settings


def by_voucher(shop: Shop) -> bool:
    return bool(shop.settings.offers["standard"].voucher_signer == "client")


async def ask(shop: Shop, opening: Opening, number: int) -> None:
    header = opening.paying(number * PRICE) if by_voucher(shop) else opening.use()
    answer = await shop.send(header, "POST", content=b"question %d" % number)
    assert answer.status_code == 200, answer.text


async def on_chain(shop: Shop, opening: Opening) -> SessionAccount:
    account = await session_account(shop.chain, opening.action.channel_id, commitment=Commitment.PROCESSED)
    assert account is not None
    return account


async def test_what_exceeds_the_limit_is_settled_and_the_session_goes_on(shop: Shop) -> None:
    opening = await shop.opened()
    for number in (1, 2):
        await ask(shop, opening, number)
    await shop.pace.tick()
    assert (await on_chain(shop, opening)).settled == 0, "within what may stay unsettled"
    await ask(shop, opening, 3)
    await shop.pace.tick()
    account = await on_chain(shop, opening)
    assert (account.settled, account.charged_units) == (3 * PRICE, 3)
    sent = len(shop.chain.sent)
    await shop.pace.tick()
    assert len(shop.chain.sent) == sent, "paid is paid"
    await ask(shop, opening, 4)
    ended = receipt(await shop.send(opening.closing(4 * PRICE) if by_voucher(shop) else opening.close()))
    assert (ended.spent, ended.refunded) == (4 * PRICE, DEPOSIT - 4 * PRICE)
    assert await token_balance(shop.chain, OPERATOR.pubkey(), shop.mint) == TOKENS + 4 * PRICE


class TestWithAvailability:
    """What may still be given back cannot be paid out before."""

    @pytest.fixture
    def raw_settings(self, raw_settings: dict[str, Any]) -> dict[str, Any]:
        terms = {"min_bps": 9_000, "credit_bps": 5_000, "window_requests": 100}
        raw_settings["offers"]["standard"]["sla"]["availability"] = terms
        return raw_settings

    async def test_half_is_held_back_where_half_may_be_given_back(self, shop: Shop) -> None:
        opening = await shop.opened()
        for number in range(1, 7):
            await ask(shop, opening, number)
            await shop.pace.tick()
        assert (await on_chain(shop, opening)).settled == 3 * PRICE
        ended = receipt(await shop.send(opening.closing(6 * PRICE) if by_voucher(shop) else opening.close()))
        assert ended.spent == 6 * PRICE, "availability was kept, so nothing is given back"
