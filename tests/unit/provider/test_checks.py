"""`check` on the fake chain: each thing right, and each thing wrong in a sentence that says what to set."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.chain.findings import Finding, clocks_agree, told
from retainer.chain.testing import create_mint, mint_to
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, Network
from retainer.protocol.pda import derive_ata
from retainer_provider.catalog import load_offers
from retainer_provider.checks.machine import check_disk, check_upstream
from retainer_provider.checks.onchain import check_node, check_service
from retainer_provider.checks.panel import check_panel
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.settings import settings_from
from retainer_provider.wire.routing import RouteTable
from tests.books import key
from tests.shop import identity, offers, table
from tests.times import ChainClock

OPERATOR = Keypair.from_seed(b"o" * 32)
LOADER_V2 = Pubkey.from_string("BPFLoader2111111111111111111111111111111111")
AUTHORITY = Keypair.from_seed(b"m" * 32)


@pytest.fixture
def chain() -> FakeChain:
    chain = FakeChain()
    chain.fund(OPERATOR.pubkey())
    chain.fund(AUTHORITY.pubkey())
    return chain


@pytest_asyncio.fixture
async def mint(chain: FakeChain) -> Pubkey:
    return await create_mint(chain, AUTHORITY, clock=chain)


async def found(chain: FakeChain, offer: Offer, us: Identity | None = None) -> dict[str, Finding]:
    us = us or identity(OPERATOR.pubkey())
    return {finding.name: finding async for finding in check_service(us, {offer.id: offer}, chain)}


async def test_a_service_in_order_is_told_so(chain: FakeChain, mint: Pubkey) -> None:
    findings = await found(chain, offers(mint)["standard"])
    assert list(findings) == ["program", "token of standard", "payee of standard", "operator"]
    assert all(finding.ok for finding in findings.values()), findings
    assert "creates it at your cost" in findings["payee of standard"].sentence
    await mint_to(chain, AUTHORITY, owner=OPERATOR.pubkey(), mint=mint, amount=1, clock=chain)
    assert "is paid into" in (await found(chain, offers(mint)["standard"]))["payee of standard"].sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mint": key("nowhere")}, "there is no mint"),
        ({"token_program": TOKEN_2022_PROGRAM_ID}, "set `token_program`"),
        ({"decimals": 9}, "has 6 decimals: set `decimals`"),
    ],
)
@pytest.mark.row("F28", attack="a node of another cluster, or a mint that is none", twin="the right ones are told so")
async def test_a_wrong_token_is_named(
    chain: FakeChain, mint: Pubkey, changes: dict[str, object], sentence: str
) -> None:
    """F28: mainnet node with a localnet mint, and the like."""
    offer = replace(offers(mint)["standard"], **changes)  # type: ignore[arg-type]
    finding = (await found(chain, offer))["token of standard"]
    assert not finding.ok
    assert sentence in finding.sentence


async def test_an_account_that_is_no_mint_is_named(chain: FakeChain, mint: Pubkey) -> None:
    offer = offers(mint)["standard"]
    chain.put(key("odd"), owner=offer.token_program, data=b"x" * 82)
    finding = (await found(chain, replace(offer, mint=key("odd"))))["token of standard"]
    assert (finding.ok, "is no mint" in finding.sentence) == (False, True)


@pytest.mark.row("C40", attack="another program at our address, or none", twin="the released one is told so")
async def test_another_program_or_none_is_named(chain: FakeChain, mint: Pubkey) -> None:
    """C40."""
    offer = offers(mint)["standard"]
    nowhere = replace(identity(OPERATOR.pubkey()), program_id=key("nowhere"))
    assert "deploy it" in (await found(chain, offer, nowhere))["program"].sentence
    other = replace(identity(OPERATOR.pubkey()), program_id=key("other"))
    for owner, sentence in ((LOADER_V2, "not the one of this release"), (key("somebody"), "is no program")):
        chain.put(key("other"), owner=owner, data=b"another program")
        finding = (await found(chain, offer, other))["program"]
        assert (finding.ok, sentence in finding.sentence) == (False, True)


async def test_an_operator_that_cannot_pay_for_settlements_is_told(chain: FakeChain, mint: Pubkey) -> None:
    chain.fund(OPERATOR.pubkey(), 9_999_999)
    finding = (await found(chain, offers(mint)["standard"]))["operator"]
    assert (finding.ok, "0.009999999 SOL, enough for 499 settlements" in finding.sentence) == (False, True)
    assert "send it 0.000000001 SOL" in finding.sentence


async def test_a_sponsor_needs_enough_for_openings_at_once(chain: FakeChain, mint: Pubkey) -> None:
    sponsor = Keypair.from_seed(b"s" * 32).pubkey()
    us = replace(identity(OPERATOR.pubkey()), sponsor=sponsor)
    assert "0.000000000 SOL" in (await found(chain, offers(mint)["standard"], us))["sponsor"].sentence
    chain.fund(sponsor)
    assert (await found(chain, offers(mint)["standard"], us))["sponsor"].ok


async def test_each_node_is_a_finding_of_its_own(chain: FakeChain) -> None:
    us, silent = identity(OPERATOR.pubkey()), FakeChain()
    silent.down = True
    assert all([finding.ok async for finding in check_node(us, chain, "a", ChainClock(chain))])
    findings = [finding async for finding in check_node(us, silent, "b", ChainClock(chain))]
    assert [(finding.name, finding.ok) for finding in findings] == [("node b", False), ("clock of b", False)]


@pytest.mark.parametrize(
    ("genesis", "network", "sentence"),
    [
        ("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d", Network.LOCALNET, "is of mainnet, not of localnet"),
        ("EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxkPkZBG", Network.MAINNET, "is of devnet, not of mainnet"),
        ("11111111111111111111111111111111", Network.DEVNET, "is of no public cluster, not of devnet"),
    ],
)
async def test_a_node_of_another_cluster_is_told(
    chain: FakeChain, monkeypatch: pytest.MonkeyPatch, genesis: str, network: Network, sentence: str
) -> None:
    """F28."""

    async def genesis_hash() -> str:
        return genesis

    monkeypatch.setattr(chain, "genesis_hash", genesis_hash)
    us = replace(identity(OPERATOR.pubkey()), network=network)
    node, _ = [finding async for finding in check_node(us, chain, "a", ChainClock(chain))]
    assert (node.ok, sentence in node.sentence) == (False, True)


@pytest.mark.parametrize(("seconds", "ok"), [(60, True), (61, False), (-60, True), (-61, False)])
async def test_a_clock_that_is_off_is_told_by_how_much(chain: FakeChain, seconds: int, ok: bool) -> None:  # noqa: FBT001
    """F25."""
    now = await chain.block_time() + seconds
    clock = await told("clock", clocks_agree(chain, now))
    assert (clock.ok, f"{abs(seconds)} s " in clock.sentence) == (ok, True)
    assert ok or ("ahead" if seconds > 0 else "behind") in clock.sentence


async def test_a_payees_token_account_that_is_lost_or_frozen_is_told(chain: FakeChain, mint: Pubkey) -> None:
    offer = offers(mint)["standard"]
    await mint_to(chain, AUTHORITY, owner=OPERATOR.pubkey(), mint=mint, amount=1, clock=chain)
    address = derive_ata(OPERATOR.pubkey(), mint, offer.token_program)
    info = await chain.account(address)
    assert info is not None
    for offset, byte, sentence in (
        (108, b"\x02", "is frozen"),
        (32, b"\x01", "belongs to"),
        (108, b"\x00", "cannot be"),
    ):
        data = info.data[:offset] + byte + info.data[offset + 1 :]
        chain.put(address, owner=offer.token_program, data=data)
        finding = (await found(chain, offer))["payee of standard"]
        assert (finding.ok, sentence in finding.sentence) == (False, True), finding


async def test_disk_and_upstream_are_told(tmp_path: Path) -> None:
    """F23."""
    enough, full = check_disk(tmp_path / "x", 512 * 2**20), check_disk(tmp_path / "x", 512 * 2**20 - 1)
    assert (enough.ok, full.ok, "511 MiB are free" in full.sentence) == (True, False, True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert (await check_upstream(url)).ok
    gone = await check_upstream(url)
    assert (gone.ok, "start the service that is sold" in gone.sentence) == (False, True)


async def test_a_node_that_does_not_answer_is_a_finding_for_each_thing(chain: FakeChain, mint: Pubkey) -> None:
    chain.down = True
    findings = await found(chain, offers(mint)["standard"])
    assert not any(finding.ok for finding in findings.values())
    assert all("rpc_url" in finding.sentence for finding in findings.values())


def panel_of(change: dict[str, Any], **offer: object) -> Finding | None:
    raw = table(key("mint"))
    raw["offers"]["standard"] |= offer
    settings = settings_from(raw | change, {}, base=Path())
    shop = load_offers(settings.offers)
    routes = RouteTable(shop, settings.routes.free)
    return check_panel(settings, shop, lambda path: routes.find(path.encode()))


def test_a_page_whose_questions_are_sold_is_told_so() -> None:
    assert panel_of({}) is None, "there is no page to look at"
    told = panel_of({"panel": {"path": "/", "ask": {"path": "/paid/search?q={question}", "method": "GET"}}})
    assert told == Finding(
        "panel", ok=True, sentence="questions of offer 'standard' go by GET to /paid/search?q={question}"
    )


@pytest.mark.parametrize(
    ("panel", "offer", "why"),
    [
        ({"ask": {"path": "/elsewhere"}}, {}, "nothing is sold there: name a path of an offer's `routes`"),
        ({"ask": {"path": "/paid/../x"}}, {}, "more than one way: leave out dot segments"),
        ({"ask": {"path": "/paid/ask"}}, {"voucher_signer": "client"}, 'needs `voucher_signer = "operator"`'),
        ({"path": "/"}, {"voucher_signer": "client"}, 'Set `voucher_signer = "operator"` in one, or leave out [panel]'),
    ],
)
def test_a_page_that_nobody_could_use_is_told_with_what_to_do(
    panel: dict[str, Any], offer: dict[str, Any], why: str
) -> None:
    told = panel_of({"panel": panel}, **offer)
    assert told is not None
    assert (told.name, told.ok, why in told.sentence) == ("panel", False, True), told.sentence
