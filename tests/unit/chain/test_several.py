"""Several nodes are one chain: failing over, never back in time, and never on the word of one alone (F07, F08)."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ChainError, ChainUnavailableError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.fake import FakeChain, Fate
from retainer.chain.rpc import RpcChain
from retainer.chain.several import MAX_LAG, SeveralNodes, connect
from tests.unit.chain.test_rpc_answers import RAW, SIGNATURE, asking, error, http, result

ADDRESS = Keypair.from_seed(bytes([7] * 32)).pubkey()


def nodes(number: int, *, lamports: int = 5) -> list[FakeChain]:
    """Nodes of one cluster, as far as an account goes."""
    made = [FakeChain() for _ in range(number)]
    for node in made:
        node.put(ADDRESS, lamports=lamports)
    return made


class Counting(FakeChain):
    """Counts how often its slot was asked for."""

    asked = 0

    async def slot(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        self.asked += 1
        return await super().slot(commitment=commitment)


async def balance(chain: Chain, address: Pubkey = ADDRESS) -> int | None:
    found = await chain.account(address)
    return None if found is None else found.lamports


async def test_the_next_node_stands_in_for_one_that_is_down() -> None:
    first, second = nodes(2)
    chain = SeveralNodes([first, second], timer=first)
    first.down = True

    assert await balance(chain) == 5
    assert await chain.block_time()


@pytest.mark.row("F08", attack="a node that is down", twin="the next one answers, and the first again later")
async def test_a_node_that_failed_is_left_alone_for_a_while_and_then_asked_again() -> None:
    first, second, clock = Counting(), FakeChain(), FakeChain()
    chain = SeveralNodes([first, second], timer=clock)
    first.down = True
    for _ in range(5):
        await chain.slot()
    assert first.asked == 1

    first.down = False
    clock.advance(seconds=31)
    await chain.slot()
    assert first.asked == 2


async def test_with_every_node_down_each_reason_is_told() -> None:
    first, second = nodes(2)
    first.down = second.down = True
    with pytest.raises(ChainUnavailableError, match=r"0 of 2 nodes.*is down; .*is down"):
        await SeveralNodes([first, second], timer=first).slot()


@pytest.mark.row("F07", attack="a node that is far behind", twin="the next one answers")
async def test_a_node_that_is_far_behind_does_not_answer_for_the_cluster() -> None:
    first, second = nodes(2)
    chain = SeveralNodes([first, second], timer=first)
    newest = await chain.slot()
    first.behind = MAX_LAG + 1

    assert await chain.slot() == newest
    assert await balance(chain) == 5
    first.behind, second.down = MAX_LAG, True
    assert await chain.slot() == newest - MAX_LAG


async def test_the_finalized_height_never_runs_back() -> None:
    # What is proved dead by one node's height must not be alive by the next one's.
    first, second = nodes(2)
    second.behind = MAX_LAG + 1
    chain = SeveralNodes([first, second], timer=first)
    await chain.block_height(commitment=Commitment.FINALIZED)
    first.down = True
    with pytest.raises(ChainUnavailableError, match="behind"):
        await chain.block_height(commitment=Commitment.FINALIZED)


@pytest.mark.row("F07", attack="an account that one node of the quorum makes up", twin="what a quorum sees is believed")
async def test_an_account_that_only_one_node_has_is_not_believed() -> None:
    honest, liar, other = *nodes(2), FakeChain()
    liar.put(ADDRESS, lamports=10**12)
    other.put(ADDRESS, lamports=5)
    chain = SeveralNodes([liar, honest, other], quorum=2, timer=honest)
    with pytest.raises(ChainUnavailableError, match=f"disagree about {ADDRESS}"):
        await chain.account(ADDRESS)

    # The twin: the same nodes once they agree.
    liar.put(ADDRESS, lamports=5)
    assert await balance(chain) == 5


async def test_nodes_that_differ_for_a_moment_are_asked_again() -> None:
    quick, slow = nodes(2)

    class Catching(FakeChain):
        async def sleep(self, seconds: float) -> None:
            slow.put(ADDRESS, lamports=9)
            await super().sleep(seconds)

    quick.put(ADDRESS, lamports=9)
    assert await balance(SeveralNodes([quick, slow], quorum=2, timer=Catching())) == 9


async def test_a_quorum_that_cannot_be_had_is_no_answer() -> None:
    first, second = nodes(2)
    second.down = True
    with pytest.raises(ChainUnavailableError, match="1 of 2 nodes"):
        await SeveralNodes([first, second], quorum=2, timer=first).account(ADDRESS)


async def test_absence_is_agreed_upon_like_anything_else() -> None:
    first, second = FakeChain(), *nodes(1)
    with pytest.raises(ChainUnavailableError, match="disagree"):
        await SeveralNodes([first, second], quorum=2, timer=first).account(ADDRESS)
    second.remove(ADDRESS)
    assert await balance(SeveralNodes([first, second], quorum=2, timer=first)) is None


async def test_a_transaction_that_one_node_has_forgotten_is_looked_for_at_the_others() -> None:
    forgetful = FakeChain()
    async with asking(
        result({"context": {"slot": 1}, "value": [{"slot": 9, "err": None, "confirmationStatus": "finalized"}]})
    ) as (remembering, _):
        status = await SeveralNodes([forgetful, remembering], timer=forgetful).signature_status(SIGNATURE)
    assert status is not None
    assert status.slot == 9

    assert await SeveralNodes([forgetful, FakeChain()], timer=forgetful).signature_status(SIGNATURE) is None


def status_at(level: str, failed: object = None) -> bytes:
    return result({"context": {"slot": 1}, "value": [{"slot": 9, "err": failed, "confirmationStatus": level}]})


async def test_a_transaction_is_as_final_as_the_quorum_sees_it() -> None:
    async with (
        asking(status_at("finalized")) as (liar, _),
        asking(status_at("confirmed")) as (honest, _),
        asking(result({"context": {"slot": 1}, "value": [None]})) as (late, _),
    ):
        status = await SeveralNodes([liar, honest], quorum=2).signature_status(SIGNATURE)
        assert status is not None
        assert status.commitment is Commitment.CONFIRMED
        alone = await SeveralNodes([liar, late], quorum=2).signature_status(SIGNATURE)
        assert alone is not None
        assert alone.commitment is Commitment.PROCESSED


async def test_nodes_that_disagree_about_a_failure_are_not_believed() -> None:
    async with (
        asking(status_at("finalized")) as (first, _),
        asking(status_at("finalized", "AccountInUse")) as (second, _),
    ):
        with pytest.raises(ChainUnavailableError, match="what became of"):
            await SeveralNodes([first, second], quorum=2).signature_status(SIGNATURE)


async def test_one_node_cannot_push_the_height_ahead() -> None:
    # An early "dead" would have a settlement signed anew while the first may still land.
    ahead, honest = nodes(2)
    ahead.advance(slots=10 * MAX_LAG)
    chain = SeveralNodes([ahead, honest], quorum=2, timer=honest)
    height = await honest.block_height()
    assert await chain.block_height() == height
    assert await chain.block_height() == height


async def test_a_refusal_counts_when_all_refuse() -> None:
    async with (
        asking(error(-32002, "bad transaction")) as (first, _),
        asking(error(-32003, "bad signature")) as (second, _),
    ):
        with pytest.raises(TransactionRefusedError, match="bad transaction"):
            await SeveralNodes([first, second]).send(RAW)


async def test_after_an_unclear_answer_a_refusal_proves_nothing() -> None:
    async with (
        asking(http("oops", "502 Bad Gateway")) as (first, _),
        asking(error(-32002, "bad transaction")) as (second, _),
    ):
        with pytest.raises(SendOutcomeUnknownError):
            await SeveralNodes([first, second]).send(RAW)


async def test_any_node_may_take_a_transaction() -> None:
    first = FakeChain()
    first.next_send(Fate.REFUSED)
    async with asking(result(SIGNATURE)) as (second, _):
        assert await SeveralNodes([first, second], timer=first).send(RAW) == SIGNATURE


@pytest.mark.parametrize("quorum", [0, 3])
def test_a_quorum_beyond_the_nodes_is_refused(quorum: int) -> None:
    with pytest.raises(ChainError, match="quorum"):
        connect(["http://127.0.0.1:1", "http://127.0.0.1:2"], quorum=quorum)


def test_one_url_is_one_node() -> None:
    assert isinstance(connect(["http://127.0.0.1:1"]), RpcChain)


async def test_a_rate_limit_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("retainer.chain.wire.asyncio.sleep", sleep)
    limited = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    async with asking(limited % b"3", limited % b"86400", result(42)) as (chain, _):
        assert await chain.slot() == 42
    assert 3 <= waited[0] <= 4.5  # with jitter
    assert 10 <= waited[1] <= 15  # a day is not waited for
