"""FastAPI and Flask behind the gate: priced by dependency or by route, and never a handler that runs unpaid."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import flask
import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter, Depends, FastAPI
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.digests import request_digest
from retainer.protocol.receipts import parse_receipt
from retainer_provider.app import create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.books.ledger import LedgerError
from retainer_provider.fastapi import PaidRequest, RequireSession
from retainer_provider.fastapi import meter as meter_fastapi
from retainer_provider.keys import keypair_text, write_private
from retainer_provider.settings import Settings, SettingsError, settings_from
from retainer_provider.tariffs import Tariff
from retainer_provider.wsgi import WsgiService, paid_request
from retainer_provider.wsgi import meter as meter_wsgi
from tests.integration.conftest import AGENT, OPERATOR, receipt
from tests.shop import DEPOSIT, PRICE, Agent
from tests.times import ChainClock

Paid = Annotated[PaidRequest, Depends(RequireSession("standard"))]
ByUse = Annotated[PaidRequest, Depends(RequireSession("standard", max_units=10))]


@pytest.fixture
def settings(raw_settings: dict[str, Any], tmp_path: Path) -> Settings:
    """Two offers at two prices, which name no routes."""
    write_private(tmp_path / "operator.json", keypair_text(OPERATOR))
    standard = {name: value for name, value in raw_settings["offers"]["standard"].items() if name != "routes"}
    raw_settings["offers"] = {"standard": standard, "large": {**standard, "price": "0.04"}}
    return settings_from(raw_settings, {}, base=tmp_path)


@dataclass
class Api:
    """A FastAPI app, how often its handlers ran, and a client of the service before it."""

    app: FastAPI
    runs: list[str]
    http: httpx.AsyncClient
    agent: Agent

    async def session(self, path: str) -> Any:  # noqa: ANN401
        unpaid = await self.http.get(path)
        assert unpaid.status_code == 402
        opening = self.agent.open(unpaid.headers["www-authenticate"])
        assert (await self.http.get(path, headers={"Authorization": opening.header})).status_code == 200
        return opening


def described(runs: list[str]) -> FastAPI:
    app, router = FastAPI(), APIRouter(prefix="/v1")

    @app.get("/free")
    async def free() -> str:
        return "free"

    @app.get("/answers/{number}")
    async def answer(number: int, paid: Paid) -> dict[str, Any]:
        runs.append(paid.session_id)
        return {"number": number, "session": paid.session_id, "offer": paid.offer_id}

    @app.get("/by-use/{used}")
    async def by_use(used: int, paid: ByUse) -> str:
        paid.charge(used)
        paid.charge(1)
        return "used"

    @router.post("/large", dependencies=[Depends(RequireSession("large"))])
    async def large() -> str:
        runs.append("large")
        return "large"

    app.include_router(router)
    return app


@pytest_asyncio.fixture
async def api(chain: FakeChain, mint: Pubkey, settings: Settings) -> AsyncIterator[Api]:
    runs: list[str] = []
    app = described(runs)
    around = Surroundings(chain=chain, clock=ChainClock(chain), timer=chain)
    service = meter_fastapi(app, settings, surroundings=around)
    async with (
        service.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://shop.test") as http,
    ):
        yield Api(app, runs, http, Agent(AGENT))


async def test_a_dependency_prices_its_route(api: Api) -> None:
    opening = await api.session("/answers/7")
    assert api.runs == [], "neither a challenge nor an opening runs the handler"
    paid = await api.http.get("/answers/7", headers={"Authorization": opening.use()})
    session = str(opening.action.channel_id)
    assert paid.json() == {"number": 7, "session": session, "offer": "standard"}
    said = receipt(paid)
    assert (said.spent, api.runs) == (PRICE, [session])


@pytest.mark.parametrize(("used", "units"), [(0, 1), (6, 7), (99, 10)])
async def test_a_handler_charges_what_was_used(api: Api, used: int, units: int) -> None:
    """F10: never more than the route's maximum."""
    opening = await api.session(f"/by-use/{used}")
    paid = await api.http.get(f"/by-use/{used}", headers={"Authorization": opening.use()})
    assert (paid.json(), receipt(paid).spent) == ("used", units * PRICE)
    document = (await api.http.get("/openapi.json")).json()
    [offer] = document["paths"]["/by-use/{used}"]["get"]["x-payment-info"]["offers"]
    assert (offer["amount"], "up to" in offer["description"]) == (str(10 * PRICE), True)


def test_a_handler_cannot_charge_for_a_route_of_a_fixed_price_nor_less_than_nothing() -> None:
    with pytest.raises(RuntimeError, match="max_units"):
        PaidRequest("session", "standard").charge(1)
    with pytest.raises(ValueError, match="nothing is given back"):
        PaidRequest("session", "standard", Tariff(max_units=2, count="units")).charge(-1)


@pytest.mark.parametrize(
    ("required", "sentence"),
    [
        (RequireSession("standard", units=0), "under \\[routes\\] free"),
        (RequireSession("standard", units=5, max_units=4), "at most `max_units`"),
        (RequireSession("standard", max_units=126), "could pay one request"),
    ],
)
def test_a_price_that_cannot_be_served_is_refused_at_start(
    settings: Settings, required: RequireSession, sentence: str
) -> None:
    app = FastAPI()
    app.get("/odd", dependencies=[Depends(required)])(lambda: "odd")
    with pytest.raises(SettingsError, match=sentence):
        meter_fastapi(app, settings)


async def test_routes_of_other_offers_have_other_prices(api: Api) -> None:
    unpaid = await api.http.post("/v1/large")
    opening = api.agent.open(unpaid.headers["www-authenticate"])
    await api.http.post("/v1/large", headers={"Authorization": opening.header})
    paid = await api.http.post("/v1/large", headers={"Authorization": opening.use()})
    assert (paid.json(), receipt(paid).spent) == ("large", 5 * PRICE)
    other = await api.http.get("/answers/1", headers={"Authorization": opening.use()})
    assert other.status_code == 402
    assert api.runs == ["large"]


async def test_free_routes_and_the_apps_own_refusals_pass(api: Api) -> None:
    assert (await api.http.get("/free")).json() == "free"
    assert (await api.http.get("/nowhere")).status_code == 404
    assert (await api.http.delete("/answers/7")).status_code == 405


async def test_a_request_that_the_app_refuses_as_malformed_is_an_answer(api: Api) -> None:
    opening = await api.session("/answers/7")
    answer = await api.http.get("/answers/seven", headers={"Authorization": opening.use()})
    assert (answer.status_code, api.runs) == (422, [])


async def test_the_document_tells_prices_where_the_draft_has_them(api: Api, mint: Pubkey) -> None:
    document = (await api.http.get("/openapi.json")).json()
    priced = document["paths"]["/answers/{number}"]["get"]
    [offer] = priced["x-payment-info"]["offers"]
    assert (offer["intent"], offer["method"]) == ("session", "solana")
    assert (offer["amount"], offer["currency"]) == (str(PRICE), str(mint))
    assert "402" in priced["responses"]
    assert "x-payment-info" not in document["paths"]["/free"]["get"]


async def test_an_app_that_is_served_without_the_gate_serves_nothing_that_is_sold() -> None:
    app = described([])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as http:
        with pytest.raises(RuntimeError, match="serve meter"):
            await http.get("/answers/7")


@pytest.mark.parametrize(("names", "sentence"), [(["gold"], "no .offers.gold."), (["standard", "large"], "one price")])
def test_a_route_that_cannot_be_priced_is_named_at_start(settings: Settings, names: list[str], sentence: str) -> None:
    app = FastAPI()
    app.get("/odd", dependencies=[Depends(RequireSession(name)) for name in names])(lambda: "odd")
    with pytest.raises(SettingsError, match=f"/odd.*{sentence}"):
        meter_fastapi(app, settings)


def test_an_offer_that_prices_no_path_is_refused_where_paths_are_priced(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"offers\.standard.*names the paths"):
        create_app(settings, upstream=FastAPI())


def test_a_sold_route_behind_a_mount_is_refused_at_start(settings: Settings) -> None:
    app = FastAPI()
    app.mount("/inner", described([]))
    with pytest.raises(SettingsError, match="mounted at /inner"):
        meter_fastapi(app, settings)


@pytest.fixture
def flask_service(
    chain: FakeChain, raw_settings: dict[str, Any], tmp_path: Path
) -> Iterator[tuple[WsgiService, list[str]]]:
    write_private(tmp_path / "operator.json", keypair_text(OPERATOR))
    app, runs = flask.Flask(__name__), []

    @app.route("/paid/<path:what>", methods=["GET", "POST"])
    def answer(what: str) -> dict[str, str | None]:
        paid = paid_request(flask.request.environ)
        runs.append(what)
        return {"what": what, "session": None if paid is None else paid.session_id}

    @app.route("/by-use/<int:words>")
    def stream(words: int) -> flask.Response:
        paid = paid_request(flask.request.environ)
        assert paid is not None

        def events() -> Iterator[str]:
            for number in range(words):
                paid.charge(2)
                yield f"data: {number}\n\n"

        return flask.Response(events(), mimetype="text/event-stream")

    @app.route("/free")
    def free() -> dict[str, bool]:
        return {"paid": paid_request(flask.request.environ) is not None}

    raw_settings["offers"]["standard"]["routes"] = ["/paid/*", {"path": "/by-use/*", "max_units": 6, "stream": True}]
    around = Surroundings(chain=chain, clock=ChainClock(chain), timer=chain)
    service = meter_wsgi(app, settings_from(raw_settings, {}, base=tmp_path), surroundings=around)
    yield service, runs
    service.close()


@pytest.fixture
def wsgi(flask_service: tuple[WsgiService, list[str]]) -> Iterator[httpx.Client]:
    with httpx.Client(transport=httpx.WSGITransport(flask_service[0]), base_url="http://shop.test") as http:
        yield http


def test_a_flask_app_is_paid_for(flask_service: tuple[WsgiService, list[str]], wsgi: httpx.Client) -> None:
    _, runs = flask_service
    unpaid = wsgi.get("/paid/x")
    assert (unpaid.status_code, runs) == (402, [])
    opening = Agent(AGENT).open(unpaid.headers["www-authenticate"])
    assert wsgi.get("/paid/x", headers={"Authorization": opening.header}).status_code == 200
    paid = wsgi.post("/paid/a%20b", headers={"Authorization": opening.use()}, content=b"question")
    assert paid.json() == {"what": "a b", "session": str(opening.action.channel_id)}
    said = receipt(paid)
    assert said.spent == PRICE
    assert said.retainer is not None
    assert said.retainer.metered is not None
    assert said.retainer.metered.request_digest == request_digest("POST", "/paid/a%20b", b"question").hex()
    closed = wsgi.get("/paid/x", headers={"Authorization": opening.close()})
    assert closed.json()["refund"] == str(DEPOSIT - PRICE)
    assert runs == ["a b"]


@pytest.mark.parametrize(("words", "given"), [(2, 2), (3, 3), (4, 3)])
def test_a_flask_app_streams_what_it_charges_for(wsgi: httpx.Client, words: int, given: int) -> None:
    """F10, F12: two units an event, six reserved."""
    opening = Agent(AGENT).open(wsgi.get("/paid/x").headers["www-authenticate"])
    assert wsgi.get("/paid/x", headers={"Authorization": opening.header}).status_code == 200
    answer = wsgi.get(f"/by-use/{words}", headers={"Authorization": opening.use()})
    *events, last = answer.text.split("\n\n")[:-1]
    assert [event for event in events if event.startswith("data: ")] == [f"data: {n}" for n in range(given)]
    assert len(events) == given + (given < words), "an error event says that it is cut"
    final = parse_receipt(last.removeprefix("event: payment-receipt\ndata: "))
    assert final.spent == 2 * given * PRICE


def test_a_free_route_of_a_flask_app_costs_nothing(wsgi: httpx.Client) -> None:
    assert wsgi.get("/free").json() == {"paid": False}
    assert wsgi.get("/nowhere").status_code == 404


@pytest.mark.row("F24", attack="a second process on the file of a running service", twin="the first is served")
def test_what_is_wrong_with_the_books_is_told_at_start(
    flask_service: tuple[WsgiService, list[str]], raw_settings: dict[str, Any], tmp_path: Path, chain: FakeChain
) -> None:
    """F24: a second process would overspend the file, and is told so."""
    flask_service[0].start()
    around = Surroundings(chain=chain, clock=ChainClock(chain), timer=chain)
    second = meter_wsgi(flask.Flask("second"), settings_from(raw_settings, {}, base=tmp_path), surroundings=around)
    with pytest.raises(LedgerError, match="process"):
        second.start()


def test_a_service_is_closed_once_and_starts_again(flask_service: tuple[WsgiService, list[str]]) -> None:
    service, _ = flask_service
    service.start()
    service.close()
    service.close()
    service.start()
