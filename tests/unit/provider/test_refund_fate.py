"""When a refund may be signed anew: only on proof that the first can never land: the chain would pay both (F14)."""

from dataclasses import dataclass

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.base import Commitment, SignatureStatus
from retainer.chain.confirm import ConfirmationOutcome
from retainer.chain.fake import FakeChain
from retainer_provider.settling.fate import incoming_fate, refund_fate

SESSION = Keypair.from_seed(b"f" * 32).pubkey()
DEPOSIT, REFUND = "deposit", "refund"
LAST_VALID = 1_000
SOON, LATE, MUCH_LATER = LAST_VALID + 150, LAST_VALID + 151, LAST_VALID + 200_000


@dataclass
class Node(FakeChain):
    """A node that is at a finalized height, and remembers what it remembers."""

    height: int
    status: SignatureStatus | None = None
    remembers: tuple[str, ...] = (DEPOSIT,)

    async def block_height(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        assert commitment is Commitment.FINALIZED
        return self.height

    async def signature_status(self, signature: str, *, search_history: bool = True) -> SignatureStatus | None:
        assert search_history
        return self.status

    async def signatures_for(self, address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        assert address == SESSION
        start = 0 if before is None else self.remembers.index(before) + 1
        return list(self.remembers[start : start + limit])


def status(commitment: Commitment, error: str | None = None) -> SignatureStatus:
    return SignatureStatus(1, commitment, error)


async def fate(node: Node) -> ConfirmationOutcome:
    return await refund_fate(node, REFUND, LAST_VALID, session=SESSION, deposit_signature=DEPOSIT)


async def test_past_its_height_and_in_no_history_it_is_dead() -> None:
    assert await fate(Node(LATE)) is ConfirmationOutcome.EXPIRED


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (Node(SOON), "a node a little behind may still see it land"),
        (Node(LATE, remembers=()), "a node that has forgotten the deposit may have forgotten the refund"),
        (Node(LATE, remembers=("stranger",)), "so may one that knows but newer ones"),
        (Node(LATE, remembers=(REFUND, DEPOSIT)), "it landed: the two answers contradict each other"),
        (Node(LATE, remembers=tuple(map(str, range(5_000)))), "a history that is flooded shows no end"),
        (Node(LATE, status=status(Commitment.CONFIRMED)), "a fork may still take it back"),
        (Node(LATE, status=status(Commitment.CONFIRMED, "failed")), "or its failure"),
    ],
)
async def test_anything_less_is_unknown(node: Node, why: str) -> None:
    assert await fate(node) is ConfirmationOutcome.UNKNOWN, why


async def test_the_deposit_may_lie_under_many_strangers() -> None:
    assert await fate(Node(LATE, remembers=(*map(str, range(250)), DEPOSIT))) is ConfirmationOutcome.EXPIRED


async def test_what_is_final_is_the_end() -> None:
    assert await fate(Node(SOON, status=status(Commitment.FINALIZED))) is ConfirmationOutcome.LANDED
    assert await fate(Node(SOON, status=status(Commitment.FINALIZED, "failed"))) is ConfirmationOutcome.FAILED


async def test_a_deposit_is_given_up_only_while_nodes_would_remember_it() -> None:
    assert await incoming_fate(Node(SOON), DEPOSIT, LAST_VALID) is ConfirmationOutcome.UNKNOWN
    assert await incoming_fate(Node(LATE), DEPOSIT, LAST_VALID) is ConfirmationOutcome.EXPIRED
    assert await incoming_fate(Node(MUCH_LATER), DEPOSIT, LAST_VALID) is ConfirmationOutcome.UNKNOWN
