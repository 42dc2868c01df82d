"""`check` on the fake chain: each thing right, and each thing wrong in a sentence that says what to set."""

from dataclasses import replace

import pytest
import pytest_asyncio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.chain.testing import create_mint, mint_to
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID
from retainer_provider.checks import Finding, check_node, check_service
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from tests.books import key
from tests.shop import identity, offers

OPERATOR = Keypair.from_seed(b"o" * 32)
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
    chain.put(key("other"), owner=key("loader"), data=b"another program")
    other = replace(identity(OPERATOR.pubkey()), program_id=key("other"))
    finding = (await found(chain, offer, other))["program"]
    assert (finding.ok, "not the one of this release" in finding.sentence) == (False, True)


async def test_an_operator_that_cannot_pay_for_settlements_is_told(chain: FakeChain, mint: Pubkey) -> None:
    chain.fund(OPERATOR.pubkey(), 9_999_999)
    finding = (await found(chain, offers(mint)["standard"]))["operator"]
    assert (finding.ok, "0.009999999 SOL" in finding.sentence) == (False, True)


async def test_each_node_is_a_finding_of_its_own(chain: FakeChain) -> None:
    us, silent = identity(OPERATOR.pubkey()), FakeChain()
    silent.down = True
    assert (await check_node(us, chain, "a")).ok
    finding = await check_node(us, silent, "b")
    assert (finding.name, finding.ok) == ("node b", False)


async def test_a_node_that_does_not_answer_is_a_finding_for_each_thing(chain: FakeChain, mint: Pubkey) -> None:
    chain.down = True
    findings = await found(chain, offers(mint)["standard"])
    assert not any(finding.ok for finding in findings.values())
    assert all("rpc_url" in finding.sentence for finding in findings.values())
