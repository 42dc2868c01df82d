"""Whose signature may be missing, what it may cost, and that signing changes nothing else."""

from dataclasses import replace

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.envelopes import decode_transaction, open_envelope
from retainer.protocol.problems import ProblemType
from retainer_provider.sessions.deposits import first_broken
from retainer_provider.sessions.refusals import Refusal
from retainer_provider.sessions.sponsoring import check_fee, co_signed
from tests.books import key
from tests.unit.provider.test_deposits import AGENT, CHALLENGE, DEMANDS, HONEST, decoded

SPONSOR = Keypair.from_seed(b"f" * 32)
SPONSORED = AGENT.open(CHALLENGE, rent_payer=SPONSOR.pubkey())


def judged(*, missing: tuple[Pubkey, ...], max_fee: int = 10_000, sponsor: Pubkey | None) -> Refusal | None:
    opening = replace(decoded(SPONSORED), missing=missing, max_fee=max_fee)
    return first_broken(check_fee(opening, replace(DEMANDS.identity, sponsor=sponsor, sponsor_fee=20_000)))


@pytest.mark.parametrize("max_fee", [10_000, 20_000])
def test_the_sponsors_signature_may_be_missing(max_fee: int) -> None:
    assert judged(missing=(SPONSOR.pubkey(),), max_fee=max_fee, sponsor=SPONSOR.pubkey()) is None


@pytest.mark.parametrize("sponsor", [None, key("another")])
def test_where_it_sponsors_nothing_all_must_have_signed(sponsor: Pubkey | None) -> None:
    refusal = judged(missing=(SPONSOR.pubkey(),), sponsor=sponsor)
    assert refusal is not None
    assert refusal.problem is ProblemType.VERIFICATION_FAILED
    assert str(SPONSOR.pubkey()) in refusal.detail
    assert judged(missing=(), sponsor=sponsor) is None


def test_a_fee_above_the_cap_is_not_sponsored() -> None:
    refusal = judged(missing=(SPONSOR.pubkey(),), max_fee=20_001, sponsor=SPONSOR.pubkey())
    assert refusal is not None
    assert "20001" in refusal.detail


def test_co_signing_completes_the_transaction_and_changes_nothing_else() -> None:
    raw = SPONSORED.action.transaction
    assert raw is not None
    complete, signature = co_signed(raw, (SPONSOR.pubkey(),), SPONSOR)
    envelope = open_envelope(complete)
    assert (envelope.missing, envelope.signature) == ((), signature)
    assert decode_transaction(complete).message == decode_transaction(raw).message
    assert co_signed(raw, (SPONSOR.pubkey(),), SPONSOR) == (complete, signature)


def test_a_complete_transaction_stays_as_it_is() -> None:
    raw = HONEST.action.transaction
    assert raw is not None
    assert co_signed(raw, (), SPONSOR) == (raw, decoded(HONEST).signature)
