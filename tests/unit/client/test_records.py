"""What the client keeps: scopes, stores, and sessions as JSON."""

import json
from dataclasses import replace

import httpx
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.channels.accounting import check_settlement
from retainer.channels.book import BookError
from retainer.channels.channel import Channel, PendingTopUp, Settlement
from retainer.channels.channel_json import channel_from_json, channel_to_json
from retainer.errors import OfferError, StoreError
from retainer.flows.offers import origin_of, read_offers
from retainer.flows.opening import build_opening
from retainer.protocol.actions import OpenAction
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import MAX_TRANSACTION_BYTES, TOKEN_PROGRAM_ID
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.pda import SessionSeeds, derive_session, derive_vault
from retainer.protocol.receipts import Receipt
from retainer.protocol.transactions import inspect_open
from retainer.stores import entry_key
from retainer.wallet import sign_voucher_as
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, URL


async def channel_of(stage: Stage, *, self_sent: bool = False, agent: Keypair | None = None) -> Channel:
    (offer,) = await stage.client.offers(URL)
    return build_opening(
        offer,
        agent or stage.agent,
        deposit=base_units(1_000_000),
        salt=7,
        token_program=TOKEN_PROGRAM_ID,
        now=NOW,
        self_sent=self_sent,
    )


async def last_receipt(stage: Stage) -> Receipt:
    response = await stage.client.request("GET", URL)
    receipt: Receipt = response.extensions["retainer"]
    return receipt


async def test_an_opening_says_the_same_in_credential_transaction_and_record(stage: Stage) -> None:
    channel = await channel_of(stage)
    assert channel.opening is not None
    action = parse_authorization(channel.opening).action
    assert isinstance(action, OpenAction)
    assert action.transaction is not None
    assert len(action.transaction) <= MAX_TRANSACTION_BYTES, "C38"
    opening = inspect_open(action.transaction)
    assert opening.session == action.channel_id == channel.address
    assert opening.deposit == action.deposit == channel.deposit
    assert opening.signature == channel.creation_signature
    assert (opening.with_terms, opening.expires_at) == (True, NOW + 3600)
    assert opening.operator == stage.service.operator.pubkey()


async def test_sessions_survive_being_written_and_read(stage: Stage) -> None:
    channel = await channel_of(stage, self_sent=True)
    used = replace(
        channel.opened(),
        book=channel.book.sent("lost").sent("key").totalled("key", base_units(8), 8),
        dispute="it lied",
        top_up=PendingTopUp("Payment abc", "5" * 64, 2**53 + 1, base_units(2**64 - 2), base_units(2**64 - 1)),
        settlement=Settlement("5" * 64, base_units(8), base_units(999_992)),
        receipt=await last_receipt(stage),
    )
    voucher = sign_voucher_as(Keypair.from_seed(b"v" * 32), channel.address, base_units(2**64 - 1))
    unsigned = PendingTopUp("Payment abc", None, 1, base_units(1), base_units(2))
    sponsored = replace(channel, authority=voucher, creation_signature=None, top_up=unsigned)
    for kept in (channel, used, sponsored):
        assert channel_from_json(json.loads(json.dumps(channel_to_json(kept)))) == kept


async def test_a_settlement_must_be_earned_and_leave_nothing_behind(stage: Stage) -> None:
    channel = await channel_of(stage)
    channel = channel.with_book(channel.book.sent("key").totalled("key", base_units(8_000), 8_000))
    check_settlement(channel, Settlement("5", base_units(8_000), base_units(992_000)))
    check_settlement(channel, Settlement("5", base_units(8_000), base_units(992_001)))  # with a stranger's gift
    with pytest.raises(BookError, match="explain 8000"):
        check_settlement(channel, Settlement("5", base_units(8_001), base_units(991_999)))
    with pytest.raises(BookError, match="only 991999 base units came back"):
        check_settlement(channel, Settlement("5", base_units(8_000), base_units(991_999)))


@pytest.mark.parametrize(
    "damage",
    [
        {"version": "2"},
        {"credential": "Payment !"},
        {"deposit": 5},
        {"state": "lost"},
        {"book": {"charged": "0", "spent": "0", "answered": [[2, 1]], "outstanding": {}}},
        {"book": {"charged": "0", "spent": "0", "answered": [[1]], "outstanding": {}}},
    ],
)
async def test_a_damaged_record_is_refused_by_its_field(stage: Stage, damage: dict[str, object]) -> None:
    record: dict[str, object] = {**channel_to_json(await channel_of(stage)), **damage}
    with pytest.raises(StoreError, match="cannot be read"):
        channel_from_json(record)


async def test_a_record_that_opens_is_not_one_that_pays(stage: Stage) -> None:
    channel = await channel_of(stage)
    with pytest.raises(StoreError, match="does not pay requests"):
        channel_from_json({**channel_to_json(channel), "credential": channel.opening})


async def test_scopes_differ_in_each_part(stage: Stage) -> None:
    scope = (await channel_of(stage)).scope
    others = [
        replace(scope, payee=Pubkey.new_unique()),
        replace(scope, token=Pubkey.new_unique()),
        replace(scope, program=Pubkey.new_unique()),
        replace(scope, cluster="devnet"),
        replace(scope, origin="https://other.example:443"),
        replace(scope, offer_id="premium"),
        replace(scope, payer=Pubkey.new_unique()),
        replace(scope, payer=None),
    ]
    assert len({entry_key(each) for each in (scope, *others)}) == 9
    assert not any(scope.covers(other) for other in others if other.payer)
    assert replace(scope, payer=None, origin="", offer_id="").covers(scope)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.example/a", "https://api.example:443"),
        ("https://api.example:443/b", "https://api.example:443"),
        ("http://api.example", "http://api.example:80"),
        ("http://localhost:8402/ask", "http://localhost:8402"),
    ],
)
def test_equal_origins_are_equal_texts(url: str, origin: str) -> None:
    assert origin_of(httpx.URL(url)) == origin


async def test_other_schemes_and_methods_are_no_offers(stage: Stage) -> None:
    challenge = await stage.service.challenge()
    charge = challenge.replace('intent="session"', 'intent="charge"')
    response = httpx.Response(
        402,
        headers=[("WWW-Authenticate", "Basic realm=x"), ("WWW-Authenticate", f"{charge}, {challenge}")],
        request=httpx.Request("GET", URL),
    )
    (offer,) = read_offers(response)
    assert offer.challenge.intent == "session"


def test_a_malformed_challenge_is_an_offer_error() -> None:
    response = httpx.Response(402, headers={"WWW-Authenticate": 'Payment id="a"'}, request=httpx.Request("GET", URL))
    with pytest.raises(OfferError, match="cannot be read"):
        read_offers(response)


async def test_sessions_of_the_client_open_without_a_search_for_bumps(stage: Stage) -> None:
    """Each bump that the program passes over costs the opening 1,500 compute units."""
    (offer,) = await stage.client.offers(URL)
    for _ in range(20):
        opened = build_opening(
            offer, stage.agent, deposit=base_units(1), token_program=TOKEN_PROGRAM_ID, now=NOW, self_sent=True
        )
        assert opened.opening is not None
        action = parse_authorization(opened.opening).action
        assert isinstance(action, OpenAction)
        address, bump = derive_session(
            SessionSeeds(
                payer=action.payer,
                payee=action.payee,
                mint=action.mint,
                authorized_signer=action.authorized_signer,
                salt=action.salt,
                open_slot=action.open_slot,
            )
        )
        assert (address, bump, derive_vault(address)[1]) == (opened.address, 255, 255)
