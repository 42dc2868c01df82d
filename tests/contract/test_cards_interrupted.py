"""A turn interrupted at any step, on both stores: taken up by another process, answered once, charged once."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from solders.keypair import Keypair

from retainer.protocol.problems import ProblemType
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.cards import hosting, shelf, turns
from retainer_provider.cards.executors import Answered, Failed, Say
from retainer_provider.cards.records import CardStatus, Hold, Role, Seat, Turn
from retainer_provider.cards.runner import Ran, Runner, Staffed
from retainer_provider.clock import SystemClock
from retainer_provider.offers import Offer
from retainer_provider.sessions.metering import Call, Delivery, MeteredRequest, Metering
from retainer_provider.sessions.refusals import refuse
from retainer_provider.sessions.streaming import MeteredStream
from retainer_provider.wire.failures import UpstreamFailure
from retainer_provider.wire.routing import Priced
from tests.books import PRICE, account_of, key, new_session
from tests.contract.cards import compose, held, made, new_card, sent
from tests.contract.conftest import OpenLedger
from tests.nodes import Killed, Life, Mortal
from tests.shop import offers

FOR_EVER: Final = 10**9
OFFER: Final = offers(key("mint"))["standard"]


@dataclass
class Till:
    """Sells as the engine does, without its look at the chain."""

    metering: Metering
    stumbles: int = 0  # so often it has the answer, and cannot book it

    async def serve(
        self, record: SessionRecord, offer: Offer, read: Callable[[], Awaitable[MeteredRequest]], call: Call
    ) -> Delivery | MeteredStream:
        if self.stumbles:
            self.stumbles -= 1
            await call(await read())
            raise refuse(ProblemType.SERVICE_UNAVAILABLE, "Try again.")
        return await self.metering.serve(record, await read(), call)


@dataclass
class Answerer:
    """What a responder is asked, by key; `fails` is how often it gives no answer first."""

    requests: dict[str, set[str]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    fails: int = 0

    async def run(self, turn: Turn, fence: int, say: Say) -> Answered | Failed:
        self.requests.setdefault(turn.key, set()).add(turn.request)
        self.calls[turn.key] += 1
        await say("so far")
        if self.fails:
            self.fails -= 1
            return Failed(UpstreamFailure.BROKEN, 1)
        return Answered("application/json", b'{"text": "forty-two"}', 1, None)


async def live(ledger: Ledger, answerer: Answerer, life: Life, owner: str, stumbles: int = 0) -> Ran:
    """One process: it holds the responder, and runs what is to run until nothing is left."""
    await ledger.transact(hosting.evict_all())  # the lease of the one before is over
    mortal: Any = Mortal(ledger, life)
    staffed = Staffed("", Priced(OFFER), "/v1/chat", compose, lambda: answerer)
    metering = Metering(ledger=mortal, operator=Keypair.from_seed(b"o" * 32), clock=SystemClock(), wait=0)
    till = Till(metering, stumbles)
    runner = Runner(ledger=mortal, engine=till, clock=SystemClock(), staff={"ada": staffed})
    hold = await mortal.transact(hosting.hold("ada", "", Seat(owner, "", 30)))
    assert isinstance(hold, Hold)
    ran = Ran.ENDED
    while isinstance(turn := await mortal.transact(turns.take(hold, compose, 0)), Turn):
        ran = await runner.run(hold, turn)
        if ran is not Ran.ENDED:
            return ran
    return ran


async def test_a_turn_interrupted_anywhere_is_answered_once_and_charged_once(open_ledger: OpenLedger) -> None:
    moments, died = 0, True
    while died:
        died, answerer, ledger = False, Answerer(), await open_ledger()
        new = new_session(moments, offer_id="standard", idle_timeout=3_600)
        await ledger.admit(new)
        await ledger.activate(new.session_id, account_of(new), None, 1)
        card = new_card(new.session_id, moments + 1, title="t")
        await made(ledger, card)
        await sent(ledger, card, "what is it?")
        try:
            await live(ledger, answerer, Life(moments), "first")
        except Killed:
            died = True
        ledger = await open_ledger()
        await live(ledger, answerer, Life(FOR_EVER), "second")
        thread = await ledger.look(shelf.thread(new.session_id, card.id, 0, 10))
        record = await ledger.session(new.session_id)
        assert thread is not None
        assert record is not None
        said = [(line.role, line.body, line.answers) for line in thread.lines]
        assert said == [(Role.PERSON, "what is it?", None), (Role.RESPONDER, "forty-two", 1)], moments
        assert (record.spent, record.reserved, record.sequence) == (PRICE, 0, 1), moments
        assert (thread.card.status, thread.card.amount) == (CardStatus.ACTIVE, PRICE), moments
        [requests] = answerer.requests.values()
        assert len(requests) == 1
        assert answerer.calls.total() <= 2
        moments += 1
    assert moments > 15  # hold, take, reserve, say, keep, commit, end: before and after each


async def test_an_answer_that_could_not_be_booked_at_once_is_not_asked_for_again(open_ledger: OpenLedger) -> None:
    ledger, answerer = await open_ledger(), Answerer()
    new = new_session(offer_id="standard", idle_timeout=3_600)
    await ledger.admit(new)
    await ledger.activate(new.session_id, account_of(new), None, 1)
    card = new_card(new.session_id, title="t")
    await made(ledger, card)
    await sent(ledger, card, "what is it?")
    assert await live(ledger, answerer, Life(FOR_EVER), "first", stumbles=2) is Ran.ENDED
    assert answerer.calls.total() == 1
    record = await ledger.session(new.session_id)
    assert record is not None
    assert record.spent == PRICE


async def test_a_failure_is_free_and_the_next_try_has_a_key_of_its_own(open_ledger: OpenLedger) -> None:
    ledger, answerer = await open_ledger(), Answerer(fails=1)
    new = new_session(offer_id="standard", idle_timeout=3_600)
    await ledger.admit(new)
    await ledger.activate(new.session_id, account_of(new), None, 1)
    card = new_card(new.session_id, title="t")
    await made(ledger, card)
    await sent(ledger, card, "what is it?")
    assert await live(ledger, answerer, Life(FOR_EVER), "first") is Ran.FAILED
    await ledger.transact(shelf.try_again(new.session_id, card.id, 0))
    assert await live(ledger, answerer, Life(FOR_EVER), "first") is Ran.ENDED
    record = await ledger.session(new.session_id)
    assert record is not None
    assert record.spent == PRICE
    assert len(answerer.calls) == 2
    assert (await held(ledger, "first")).responder == "ada"
