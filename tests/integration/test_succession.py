"""Another machine takes a service over, with the same keys and a backup of its books that is older than the chain.

Nobody is charged twice, nothing is served that cannot be paid for, and nothing is refunded twice.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.chain.errors import ChainUnavailableError
from retainer.chain.fake import FakeChain
from retainer.chain.sessions import read_session
from retainer.chain.testing import token_balance
from retainer.protocol.instructions import settle
from retainer.protocol.pda import derive_ata
from retainer.protocol.problems import ProblemType
from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.sqlite_backup import back_up
from tests.custody import carrying, custodial
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, opened_shop, problem, receipt
from tests.integration.test_recovery import brought_back, looked
from tests.shop import DEPOSIT, PRICE, Agent

FINAL_SLOTS = 40


@dataclass
class Service:
    """One service, its backups, and the machine that comes after it."""

    chain: FakeChain
    mint: Pubkey
    raw: dict[str, Any]
    folder: Path

    @asynccontextmanager
    async def first(self) -> AsyncIterator[Shop]:
        async with opened_shop(self.chain, self.mint, self.raw, self.home("first")) as shop:
            yield shop

    def back_up(self) -> None:
        back_up(self.home("first") / "retainer.sqlite", self.home("second") / "retainer.sqlite")

    @asynccontextmanager
    async def second(self) -> AsyncIterator[Shop]:
        """The successor, on the backup, once it has seen the chain."""
        self.chain.advance(slots=FINAL_SLOTS)
        async with opened_shop(self.chain, self.mint, self.raw, self.home("second")) as shop:
            await shop.pace.tick()
            yield shop

    def home(self, name: str) -> Path:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        return home

    async def paid(self) -> tuple[int, int]:
        """What the agent has paid so far, and what the service has got."""
        held = [await token_balance(self.chain, owner.pubkey(), self.mint) for owner in (AGENT, OPERATOR)]
        return TOKENS - held[0], held[1] - TOKENS


@pytest.fixture
def service(chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path) -> Service:
    return Service(chain, mint, raw_settings, tmp_path)


async def test_the_same_books_are_opened_by_one_machine_at_a_time(service: Service) -> None:
    async with service.first() as shop:
        opening = await shop.opened()
        with pytest.raises(LedgerError, match="in use by another process"):
            async with service.first():
                pytest.fail("two services have one file")
        assert (await shop.use(opening)).status_code == 200


async def test_a_session_that_ended_since_the_backup_is_served_nothing(service: Service) -> None:
    async with service.first() as shop:
        opening = await shop.opened()
        await shop.use(opening)
        service.back_up()
        await shop.use(opening)
        assert (await shop.send(opening.close())).status_code == 200
    async with service.second() as shop:
        refused = problem(await shop.use(opening))
        assert refused.type in (ProblemType.SESSION_CLOSING, ProblemType.SESSION_CLOSED)
        assert shop.upstream.asked == []
        assert (await shop.settled(opening)).settled == 2 * PRICE, "the books learn what the chain knows"
    assert await service.paid() == (2 * PRICE, 2 * PRICE)


async def test_a_session_opened_since_the_backup_is_unknown_until_it_is_recovered(service: Service) -> None:
    async with service.first() as shop:
        service.back_up()
        opening = await shop.opened()
        receipts = [receipt(await shop.use(opening)) for _ in range(3)]
    async with service.second() as shop:
        assert problem(await shop.use(opening)).type == ProblemType.SESSION_UNKNOWN
        assert shop.upstream.asked == []
        [lost] = (await looked(service.chain, receipts)).values()
        await brought_back(service.chain, shop.ledger, shop, [lost])
    assert await service.paid() == (3 * PRICE, 3 * PRICE)


async def test_what_was_charged_since_the_backup_is_the_services_loss_and_nobodys_double_charge(
    service: Service,
) -> None:
    async with service.first() as shop:
        opening = await shop.opened()
        await shop.use(opening, key="before")
        service.back_up()
        for number in range(3):
            await shop.use(opening, key=f"after-{number}")
    async with service.second() as shop:
        assert receipt(await shop.use(opening, key="before")).spent == PRICE, "the backup has the answer"
        assert shop.upstream.asked == []
        again = await shop.use(opening, key="after-0")
        assert (again.status_code, receipt(again).spent) == (200, 2 * PRICE)
        assert (await shop.send(opening.close())).status_code == 200
    assert await service.paid() == (2 * PRICE, 2 * PRICE)


async def test_a_session_that_the_chain_has_settled_beyond_the_backup_is_served_nothing(service: Service) -> None:
    async with service.first() as shop:
        opening = await shop.opened()
        service.back_up()
        await shop.use(opening)
        params, session = opening.params, opening.action.channel_id
        account = await shop.chain.account(session)
        assert account is not None
        pay = settle(
            submitter=OPERATOR.pubkey(),
            session=session,
            account=read_session(account),
            payee_token=derive_ata(OPERATOR.pubkey(), service.mint, params.token_program),
            amount=PRICE,
            charged_units=1,
            token_program=params.token_program,
        )
        await service.chain.send(Agent(OPERATOR).sign([pay], (await service.chain.latest_blockhash()).blockhash))
    async with service.second() as shop:
        assert (await shop.use(opening)).status_code == 503
        assert shop.upstream.asked == []
    assert await service.paid() == (DEPOSIT, PRICE)


async def test_a_custodial_refund_made_since_the_backup_is_not_made_again(service: Service) -> None:
    """Nothing on chain would stop a second one."""
    custodial(service.raw)
    async with service.first() as shop:
        opening = carrying(shop.agent.open(await shop.challenge()))
        assert (await shop.send(opening.header)).status_code == 200
        await shop.use(opening)
        service.back_up()
        await shop.use(opening)
        assert (await shop.send(opening.close())).status_code == 200
        assert await service.paid() == (2 * PRICE, 2 * PRICE)
    async with service.second() as shop:
        refused = problem(await shop.use(opening))
        assert refused.type in (ProblemType.SESSION_CLOSING, ProblemType.SESSION_CLOSED)
        await shop.send(opening.close())
        assert (await shop.settled(opening)).settled == 2 * PRICE
        assert shop.upstream.asked == []
    assert await service.paid() == (2 * PRICE, 2 * PRICE)


async def test_a_node_without_history_stops_only_what_may_have_been_refunded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    custodial(service.raw)
    async with service.first() as shop:
        opening = carrying(shop.agent.open(await shop.challenge()))
        assert (await shop.send(opening.header)).status_code == 200
        service.back_up()

    async def forgotten(*_: object, **__: object) -> list[str]:
        raise ChainUnavailableError("this node keeps no history")

    with monkeypatch.context() as patched:
        patched.setattr(service.chain, "signatures_for", forgotten)
        async with service.second() as shop:
            assert (await shop.use(opening)).status_code == 503
            assert (await shop.http.get("/api/readyz")).status_code == 200
            patched.undo()
            # A look that had begun by then found no history either; the one after it does.
            for _ in range(3):
                await shop.pace.tick()
            assert (await shop.use(opening)).status_code == 200


async def test_two_machines_with_copies_cost_the_service_and_never_the_agent(service: Service) -> None:
    """What an operator must not do, and no database can see: the chain pays once, and within the deposit."""
    async with service.first() as old:
        opening = await old.opened()
        service.back_up()
        async with service.second() as new:
            for shop in (old, new, new):
                assert (await shop.use(opening)).status_code == 200
            assert (await new.send(opening.close())).status_code == 200
            service.chain.advance(slots=FINAL_SLOTS)
            await old.pace.tick()
            assert (await old.use(opening)).status_code != 200
            assert (await old.settled(opening)).settled == 2 * PRICE
    assert await service.paid() == (2 * PRICE, 2 * PRICE)
