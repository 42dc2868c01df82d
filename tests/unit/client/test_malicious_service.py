"""F29 and C41: a service that lies costs its agent nothing but the lie's own attempt."""

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from msgspec import structs
from solders.pubkey import Pubkey

from retainer.errors import (
    CapError,
    ClientError,
    OfferError,
    OpeningRefusedError,
    PinError,
    ReceiptError,
    SessionError,
    SettlementError,
    UnknownSessionError,
)
from retainer.protocol.actions import OpenAction
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import PAYMENT_CHANNELS_PROGRAM_ID, TOKEN_2022_PROGRAM_ID, Network
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.offers import SessionRequest
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import VoucherSigner
from retainer.trust.caps import SpendingCaps
from retainer.trust.pins import Pins
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, PRICE, URL, metered, resigned

STRANGER = Pubkey.new_unique()


def priced(request: SessionRequest, price: int) -> SessionRequest:
    assert request.retainer
    terms = replace(request.retainer, price=base_units(price))
    return replace(request, amount=base_units(price), retainer=terms)


def terms(**changes: object) -> Callable[[SessionRequest], SessionRequest]:
    def change(request: SessionRequest) -> SessionRequest:
        assert request.retainer
        return replace(request, retainer=replace(request.retainer, **changes))  # type: ignore[arg-type]

    return change


LIES: dict[str, tuple[Callable[[SessionRequest], SessionRequest], type[ClientError], str]] = {
    "price inflation": (lambda r: priced(r, 10_001), CapError, r"costs 0\.010001, above the cap of 0\.01"),
    "other program id": (lambda r: replace(r, channel_program=STRANGER), PinError, "does not trust"),
    "peer program on another network": (
        lambda r: replace(r, channel_program=PAYMENT_CHANNELS_PROGRAM_ID),
        PinError,
        "does not trust",
    ),
    "other network": (lambda r: replace(r, network=Network.MAINNET), PinError, "set to localnet"),
    "blockhash of another chain": (lambda r: replace(r, recent_slot=1), PinError, "do not see the same chain"),
    "token that is none": (lambda r: replace(r, currency=STRANGER), OfferError, "no token"),
    "inflated decimals": (lambda r: replace(r, decimals=9), OfferError, "9 decimals, and its mint has 6"),
    "other token program": (lambda r: replace(r, token_program=TOKEN_2022_PROGRAM_ID), OfferError, "token program"),
    "huge minimum deposit": (
        lambda r: replace(r, minimum_deposit=base_units(5_000_000)),
        OfferError,
        r"takes deposits from 5\.0, not 1\.0",
    ),
    "grace period of a month": (lambda r: replace(r, grace_period_seconds=2_592_000), CapError, "2592000 s after"),
    "grace period of a second": (lambda r: replace(r, grace_period_seconds=1), OfferError, "outside the program's"),
    "expiry in two years": (terms(expires_at=NOW + 63_072_000), CapError, "expire in 63072000 s"),
    "expired already": (terms(expires_at=NOW), OfferError, "expired already"),
    "terms with another price": (terms(price=base_units(1)), OfferError, "another price or operator"),
    "terms with another operator": (terms(operator=STRANGER), OfferError, "another price or operator"),
    "vouchers that must grow by more than a request costs": (
        lambda r: replace(
            r, voucher_signer=VoucherSigner.CLIENT, operator=None, min_voucher_delta=base_units(r.amount + 1)
        ),
        OfferError,
        "signs more than is asked for",
    ),
    "a sponsor that is the payee": (
        lambda r: replace(r, fee_payer=True, fee_payer_key=r.recipient),
        OfferError,
        "sponsor is its payee",
    ),
}


@pytest.mark.parametrize("lie", LIES, ids=LIES)
@pytest.mark.row(
    "F29", attack="an inflated price, another program, mint or payee, a huge deposit", twin="the honest offer is paid"
)
@pytest.mark.row("C41", attack="a program id taken from the challenge", twin="the pinned program is paid")
async def test_a_bad_offer_is_refused_before_anything_is_signed(stage: Stage, lie: str) -> None:
    change, error, message = LIES[lie]
    stage.service.offer = change
    sent = len(stage.chain.sent)
    with pytest.raises(error, match=message):
        await stage.client.request("GET", URL)
    assert all("Authorization" not in request.headers for request in stage.service.seen)
    assert (len(stage.chain.sent), await stage.client.sessions()) == (sent, [])
    stage.service.offer = lambda request: request
    assert (await stage.client.request("GET", URL)).status_code == 200


async def test_an_offer_that_names_the_agent_as_payee_is_refused(stage: Stage) -> None:
    stage.service.offer = lambda request: replace(request, recipient=stage.agent.pubkey())
    with pytest.raises(OfferError, match="your own key"):
        await stage.client.request("GET", URL)


async def test_a_token_that_the_caller_did_not_allow_is_refused(stage: Stage) -> None:
    async with stage.another(SpendingCaps(per_session="1.0", mints=frozenset({STRANGER}))) as client:
        with pytest.raises(PinError, match="which you did not allow"):
            await client.request("GET", URL)


async def test_off_localnet_only_stablecoins_are_spent_unless_the_caller_allows_more(stage: Stage) -> None:
    stage.service.offer = lambda request: replace(request, network=Network.DEVNET)
    async with stage.another(pins=Pins(Network.DEVNET)) as client:
        with pytest.raises(PinError, match="which you did not allow"):
            await client.request("GET", URL)
    async with stage.another(SpendingCaps("1.0", mints=frozenset({stage.mint})), pins=Pins(Network.DEVNET)) as client:
        assert (await client.request("GET", URL)).status_code == 200


@pytest.mark.row("C41", attack="a program that nobody pinned", twin="one that the caller pins")
async def test_a_program_that_the_caller_pins_besides_is_trusted() -> None:
    pins = Pins().trusting([STRANGER])
    pins.require(Network.LOCALNET, STRANGER)
    with pytest.raises(PinError):
        pins.require(Network.LOCALNET, Pubkey.new_unique())


async def test_a_deposit_beyond_the_balance_is_refused_with_the_balance(stage: Stage) -> None:
    with pytest.raises(CapError, match=r"holds 10\.0"):
        async with stage.another(SpendingCaps()) as client:
            await client.create_session(URL, "10.000001")


async def test_plain_http_carries_no_proof_beyond_this_machine(stage: Stage) -> None:
    with pytest.raises(PinError, match="is not https"):
        await stage.client.request("GET", "http://api.example/ask")
    assert (await stage.client.request("GET", "https://api.example/ask")).status_code == 200


async def test_an_offer_that_got_worse_since_it_was_seen_is_refused(stage: Stage) -> None:
    (offer,) = await stage.client.offers(URL)
    stage.service.offer = lambda request: priced(request, PRICE + 1)
    with pytest.raises(OfferError, match="has changed its offer"):
        await stage.client.create_session(offer, "1.0")


@pytest.mark.row("F29", attack="402 for ever", twin="asked a few times, then told")
async def test_a_service_that_answers_402_for_ever_is_asked_a_few_times(stage: Stage) -> None:
    async def never(request: httpx.Request) -> httpx.Response | None:
        if "Idempotency-Key" in request.headers:
            return await stage.service.refuse(ProblemType.SESSION_UNKNOWN)
        return None

    stage.service.before = never
    response = await stage.client.request("GET", URL)
    assert response.status_code == 402
    assert stage.service.opened == 2, "the first, and one replacement"
    assert sum("Idempotency-Key" in request.headers for request in stage.service.seen) == 3


@pytest.mark.row("F29", attack="a redirect to another host", twin="the paid host answers")
async def test_a_redirect_to_another_host_carries_no_credential_and_is_not_paid(stage: Stage) -> None:
    await stage.client.request("GET", URL)
    evil: list[httpx.Request] = []

    async def redirecting(request: httpx.Request) -> httpx.Response | None:
        if request.url.host == "localhost":
            return httpx.Response(307, headers={"Location": "https://evil.example/ask"})
        evil.append(request)
        return await stage.service.refuse(ProblemType.PAYMENT_REQUIRED)

    stage.service.before = redirecting
    async with stage.http(auth=stage.client.auth, follow_redirects=True) as http:
        response = await http.get(URL)
    assert (response.status_code, response.url.host) == (402, "evil.example")
    assert [request.headers.get("Authorization") for request in evil] == [None]
    assert stage.service.opened == 1


async def test_an_opening_is_never_redirected(stage: Stage) -> None:
    """It carries the proof; an httpx client of the caller's that follows redirects must not carry it on."""

    async def redirecting(request: httpx.Request) -> httpx.Response | None:
        if "Authorization" in request.headers:
            return httpx.Response(307, headers={"Location": "https://evil.example/ask"})
        return None

    stage.service.before = redirecting
    async with stage.http(follow_redirects=True) as http, stage.another(http=http) as client:
        with pytest.raises(OpeningRefusedError, match="status 307"):
            await client.create_session(URL, "1.0")
    assert {request.url.host for request in stage.service.seen} == {"localhost"}


async def test_a_host_that_copies_the_payee_is_not_shown_the_proof(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    with pytest.raises(PinError, match="pays at http://localhost:8402 only"):
        await stage.client.request("GET", "https://evil.example/ask", session=session.session_id)
    proof = next(r.headers["Authorization"] for r in stage.service.seen if "Authorization" in r.headers)
    await stage.client.request("GET", "https://evil.example/ask")
    shown = [r for r in stage.service.seen if r.url.host == "evil.example" and "Authorization" in r.headers]
    assert shown
    assert proof not in {request.headers["Authorization"] for request in shown}
    assert stage.service.opened == 2, "it gets a session of its own, within the caps"


def foreign(receipt: Receipt) -> Receipt:
    return structs.replace(receipt, reference=STRANGER)


BAD_RECEIPTS: dict[str, tuple[Callable[[Receipt], Receipt], str]] = {
    "other session": (foreign, "it is about session"),
    "other challenge": (lambda r: structs.replace(r, challenge_id="another"), "another challenge"),
    "more than the price": (
        lambda r: metered(structs.replace(r, spent=base_units(2 * PRICE)), amount=base_units(2 * PRICE)),
        "costs at most 8000",
    ),
    "total of requests not made": (
        lambda r: structs.replace(r, spent=base_units(r.spent + PRICE)),
        "puts the total at",
    ),
    "sequence of requests not made": (lambda r: metered(r, sequence=7), "fewer requests were made"),
    "sequence zero": (lambda r: metered(r, sequence=0), "numbered from 1"),
    "total beyond the deposit": (lambda r: structs.replace(r, spent=base_units(2_000_000)), "above the deposit"),
    "billed and called uncharged": (lambda r: metered(r, charged=False), "calls uncharged"),
    "another request": (lambda r: metered(r, request_digest="11" * 32), "another request"),
    "another answer": (lambda r: metered(r, response_digest="11" * 32), "another answer"),
    "no details": (
        lambda r: structs.replace(r, retainer=structs.replace(r.retainer, metered=None) if r.retainer else None),
        "what the request cost",
    ),
}


@pytest.mark.parametrize("lie", BAD_RECEIPTS, ids=BAD_RECEIPTS)
@pytest.mark.row("F29", attack="a receipt that counts too much", twin="the answer is handed over, spending stops")
async def test_a_signed_lie_stops_the_spending_and_leaves_the_answer(stage: Stage, lie: str) -> None:
    session = await stage.client.create_session(URL, "1.0")
    change, message = BAD_RECEIPTS[lie]
    stage.service.receipt = resigned(change, stage.service.operator)
    with pytest.raises(ReceiptError, match=message) as refused:
        await stage.client.request("GET", URL)
    assert refused.value.response is not None
    assert refused.value.response.json() == {"answer": 42}
    stage.service.receipt = lambda receipt: receipt
    with pytest.raises(SessionError, match="in dispute"):
        await stage.client.request("GET", URL, session=session.session_id)
    closed = await stage.client.close_session(session.session_id)
    assert closed.refunded == 1_000_000 - PRICE


async def test_a_receipt_that_the_operator_did_not_sign_is_refused(stage: Stage) -> None:
    await stage.client.create_session(URL, "1.0")
    stage.service.receipt = lambda receipt: structs.replace(receipt, timestamp="2027-01-15T09:00:00Z")
    with pytest.raises(ReceiptError, match="did not sign it"):
        await stage.client.request("GET", URL)


async def test_a_receipt_that_cannot_be_read_is_refused(stage: Stage) -> None:
    await stage.client.create_session(URL, "1.0")

    async def garbled(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(200, headers={"Payment-Receipt": "!"}, json={"answer": 42})

    stage.service.before = garbled
    with pytest.raises(ReceiptError, match="base64url"):
        await stage.client.request("GET", URL)


async def test_an_opening_without_a_fitting_receipt_is_not_spent_from(stage: Stage) -> None:
    stage.service.receipt = foreign
    with pytest.raises(ReceiptError, match="for opening session"):
        await stage.client.create_session(URL, "1.0")
    (session,) = await stage.client.sessions()
    stage.service.receipt = lambda receipt: receipt
    assert (await stage.client.close_session(session.session_id)).refunded == 1_000_000


async def test_a_settlement_above_the_receipts_is_called_what_it_is(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    await stage.client.request("GET", URL)
    stage.service.settle = lambda spent: 3 * spent
    with pytest.raises(SettlementError, match=r"with 0\.024: it puts the total at 24000") as refused:
        await stage.client.close_session(session.session_id)
    view = await stage.client.get_session(refused.value.session_id)
    assert (view.settled, view.metadata["dispute"][:11]) == (24_000, "transaction")


async def test_a_settlement_below_the_receipts_is_the_services_gift(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    await stage.client.request("GET", URL)
    stage.service.settle = {PRICE: 0}.__getitem__
    assert (await stage.client.close_session(session.session_id)).refunded == 1_000_000


async def test_a_close_receipt_that_names_another_transaction_does_not_decide(stage: Stage) -> None:
    """The refund is read from the transaction that removed the session, whatever the service points at."""
    session = await stage.client.create_session(URL, "1.0")
    await stage.client.request("GET", URL)
    pointed = session.creation_signature
    stage.service.receipt = resigned(
        lambda r: structs.replace(r, tx_hash=pointed, refunded=base_units(1_000_000)), stage.service.operator
    )
    closed = await stage.client.close_session(session.session_id)
    assert (closed.settled, closed.refunded) == (PRICE, 1_000_000 - PRICE)
    assert closed.signature != pointed


async def test_a_service_that_takes_the_deposit_and_refuses_is_named(stage: Stage) -> None:
    async def taking(request: httpx.Request) -> httpx.Response | None:
        if "Authorization" not in request.headers or stage.service.sessions:
            return None
        credential = parse_authorization(request.headers["Authorization"])
        assert isinstance(credential.action, OpenAction)
        await stage.service.open(credential.action, credential.challenge.id)
        return await stage.service.refuse(ProblemType.DEPOSIT_FOREIGN)

    stage.service.before = taking
    with pytest.raises(OpeningRefusedError, match="took the deposit"):
        await stage.client.create_session(URL, "1.0")
    (session,) = await stage.client.sessions()
    assert (await stage.client.close_session(session.session_id)).refunded == 1_000_000


async def test_a_refused_opening_says_that_nothing_was_deposited(stage: Stage) -> None:
    async def refusing(request: httpx.Request) -> httpx.Response | None:
        if "Authorization" in request.headers:
            return await stage.service.refuse(ProblemType.DEPOSIT_TOO_SMALL)
        return None

    stage.service.before = refusing
    with pytest.raises(OpeningRefusedError, match="do something about it") as refused:
        await stage.client.create_session(URL, "1.0")
    assert refused.value.problem is not None
    assert refused.value.problem.type is ProblemType.DEPOSIT_TOO_SMALL
    stage.service.before = None
    assert (await stage.client.request("GET", URL)).status_code == 200, "the next one starts afresh"


async def test_the_daily_cap_stops_a_service_that_keeps_losing_sessions(stage: Stage) -> None:
    async with stage.another(SpendingCaps(per_session="1.0", per_day="2.0")) as client:
        for _ in range(2):
            await client.request("GET", URL)
            stage.service.sessions.clear()
        with pytest.raises(CapError, match="within the last 24 hours"):
            await client.request("GET", URL)
        lost = await client.sessions()
        assert ["does not know it any more" in session.metadata["dispute"] for session in lost] == [True, True]


def test_a_synchronous_client_is_told_so(stage: Stage) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    with (
        httpx.Client(auth=stage.client.auth, transport=transport) as http,
        pytest.raises(ClientError, match=r"httpx\.AsyncClient"),
    ):
        http.get(URL)


async def test_a_client_knows_its_own_sessions_only(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    async with stage.another() as stranger:
        with pytest.raises(UnknownSessionError, match="has no session"):
            await stranger.get_session(session.session_id)
