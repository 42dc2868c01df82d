"""`retainer audit session`: fields, facts that follow, and contradictions, of living and of ended sessions."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from retainer.audit.deeds import deeds_of
from retainer.audit.life import End, Life
from retainer.audit.promises import Committed, Promise, broken_promises, read_terms
from retainer.audit.session import Standing, life_findings, rights, standing_findings
from retainer.chain.sessions import token_account
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.layouts import encode_session
from retainer.protocol.session import ChainStatus, SessionState
from retainer.protocol.sla import NO_TERMS_HASH, SlaTerms
from tests.books import DEPOSIT, GRACE, PRICE, key
from tests.trading import OPERATOR, PAYER, Trade
from tests.unit.audit.conftest import Auditor

TERMS = SlaTerms(max_latency_ms=400, accepted_statuses=("2xx",), min_body_bytes=1)


async def standing(trade: Trade, session: str) -> Standing:
    account = await trade.account(session)
    assert account is not None
    escrow = await token_account(trade.chain, account.escrow)
    return Standing(Pubkey.from_string(session), account, escrow, await trade.chain.block_time())


async def test_a_living_session_is_told_with_what_follows_from_it(auditor: Auditor) -> None:
    session = await auditor.trade.open()
    await auditor.trade.pay_out(session, 5)
    told = await auditor.run("session", session)
    assert told.exit_code == 0, told.output
    for words in (
        f"{OPERATOR.pubkey()}, who may settle and close",
        "active, by what the chain knows",
        "120 at most",
        "holds 0.96, and must hold 0.96",
        "5 units in 1 settlements",
        "payee, now: settle up to the deposit, or close",
        "payer, now: ask to close",
        "opened with terms",
        "paid out in part",
        "Nothing here contradicts.",
    ):
        assert words in told.output, (words, told.output)


async def test_everything_is_there_as_json(auditor: Auditor) -> None:
    session = await auditor.trade.open()
    told = json.loads((await auditor.run("session", session, "--json")).stdout)
    assert (told["state"], told["requests_left"], told["escrow_balance"]) == ("active", 125, str(DEPOSIT))
    assert (told["payer"], told["findings"]) == (str(PAYER.pubkey()), [])
    assert [deed["what"] for deed in told["history"]] == ["opened with terms"]
    assert told["life"]["grace_period"] == GRACE


async def test_an_ended_session_is_told_from_its_transactions(auditor: Auditor) -> None:
    session = await auditor.trade.closing()
    await auditor.trade.settler().settle(session)
    told = await auditor.run("session", session)
    assert told.exit_code == 0, told.output
    for words in (
        f"closed by {OPERATOR.pubkey()}",
        "1.0 = 0.24 settled + 0.76 refunded",
        "30 units",
        "0.008 a unit",
        "settled and refunded",
    ):
        assert words in told.output, (words, told.output)


async def test_a_withdrawn_session_is_told_as_one(auditor: Auditor) -> None:
    session = await auditor.trade.open()
    await auditor.trade.request_close(session)
    during = await auditor.run("session", session)
    assert "closing, by what the chain knows" in during.output
    assert "0 at most" in during.output
    auditor.chain.advance(seconds=GRACE + 1)
    await auditor.trade.withdraw(session)
    told = await auditor.run("session", session)
    assert "withdrawn past the provider" in told.output
    assert "1.0 = 0.0 settled + 1.0 refunded" in told.output


async def test_strangers_who_name_the_address_change_nothing(auditor: Auditor) -> None:
    session = await auditor.trade.open()
    await auditor.trade.mention(Pubkey.from_string(session))
    told = json.loads((await auditor.run("session", session, "--json")).stdout)
    assert len(told["history"]) == 1


async def test_an_address_without_a_session_is_said_to_be_one(auditor: Auditor) -> None:
    told = await auditor.run("session", str(key("nobody")))
    assert told.exit_code == 9
    assert "there is no session" in told.stderr


async def test_an_account_that_lost_money_is_found_out(auditor: Auditor) -> None:
    """C14's counterpart: more in the escrow is harmless, less is not."""
    session = await auditor.trade.open()
    account = await auditor.trade.account(session)
    assert account is not None
    richer = replace(account, deposit=base_units(DEPOSIT + 1))
    auditor.chain.put(Pubkey.from_string(session), owner=PROGRAM_ID, data=encode_session(richer))
    told = await auditor.run("session", session)
    assert told.exit_code == 8
    assert "the escrow holds 1000000, and the account's fields say 1000001" in told.output


async def test_settling_other_than_whole_units_is_found_out(auditor: Auditor) -> None:
    stood = await standing(auditor.trade, await auditor.trade.open())
    assert list(standing_findings(stood)) == []
    odd = replace(stood.account, settled=base_units(PRICE + 1), charged_units=1)
    sentences = [str(found) for found in standing_findings(replace(stood, account=odd))]
    assert any("1 units at 8000 are 8000, and 8001 is settled" in one for one in sentences)


async def test_terms_are_held_against_their_hash(auditor: Auditor, tmp_path: Path) -> None:
    """The lie of changed terms, told to an auditor who has the session only."""
    path = tmp_path / "terms.json"
    path.write_text(json.dumps({"slaTerms": TERMS.to_json()}))
    session = await auditor.trade.open()  # commits to a price and to no terms
    told = await auditor.run("session", session, "--terms", str(path))
    assert told.exit_code == 8
    assert "these are not the terms it was opened under" in told.output


def test_promises_are_held_against_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_text(json.dumps({"slaTerms": TERMS.to_json()}) + "\nnot read\n")
    promise = read_terms(path)
    assert promise == Promise("usage.jsonl", TERMS)
    kept = Committed(key("payee"), key("operator"), PRICE, TERMS.hash())
    assert list(broken_promises(promise, kept)) == []
    dearer = replace(promise, price=PRICE + 1, payee=key("friend"), operator=key("other"))
    sentences = [str(found) for found in broken_promises(dearer, kept)]
    assert len(sentences) == 3
    assert any(str(key("friend")) in sentence for sentence in sentences)
    stock = Committed(key("payee"), key("operator"), 0, NO_TERMS_HASH)
    assert list(broken_promises(promise, stock)) == []  # a stock `open` commits to nothing


@pytest.mark.parametrize(
    ("changes", "seconds", "expected", "state"),
    [
        ({}, 0, ["settle", "top up", "ask to close"], SessionState.ACTIVE),
        ({"expires_at": 1}, 0, ["withdraw"], SessionState.EXPIRED),
        ({"status": ChainStatus.CLOSING, "closure_started_at": 1_800_000_000}, 0, ["settle", "withdraw"], "closing"),
        ({"status": ChainStatus.CLOSING, "closure_started_at": 1_800_000_000}, GRACE, ["withdraw"], "closing"),
        ({"status": ChainStatus.CLOSED}, 0, ["send the rent back"], SessionState.REFUNDED),
    ],
)
async def test_who_may_do_what_follows_the_programs_rules(
    auditor: Auditor, changes: dict[str, object], seconds: int, expected: list[str], state: str
) -> None:
    stood = await standing(auditor.trade, await auditor.trade.open())
    account = replace(stood.account, **changes)  # type: ignore[arg-type]
    stood = replace(stood, account=account, now=1_800_000_000 + seconds)
    found = [right.may for right in rights(stood)]
    assert [may for may, start in zip(found, expected, strict=True) if not may.startswith(start)] == []
    assert stood.state == state


async def test_a_life_reads_the_same_in_any_order_and_twice(auditor: Auditor) -> None:
    session = await auditor.trade.open(requests=3)
    await auditor.trade.top_up(session, 500)
    await auditor.trade.pay_out(session, 2)
    await auditor.trade.ledger.begin_close(session, "asked", auditor.trade.clock.now())
    await auditor.trade.settler().settle(session)
    address = Pubkey.from_string(session)
    deeds = []
    for signature in reversed(await auditor.chain.signatures_for(address)):
        info = await auditor.chain.transaction(signature)
        assert info is not None
        deeds += deeds_of(info, PROGRAM_ID)
        # Logs that were cut: the instructions alone.
        cut = deeds_of(replace(info, logs=("Log truncated",)), PROGRAM_ID)
        assert [deed.asked for deed in cut] == [deed.asked for deed in deeds[-len(cut) :]]
        assert [deed.event for deed in cut] == [None]
        # And called by another program: the events alone.
        assert [deed.asked for deed in deeds_of(replace(info, raw=b""), PROGRAM_ID)] == [None]
        assert deeds_of(replace(info, error='"AccountInUse"'), PROGRAM_ID) == []
    lives = [Life(session) for _ in range(2)]
    for deed in deeds:
        lives[0].tell(deed)
    for deed in [*reversed(deeds), *deeds]:
        lives[1].tell(deed)
    assert lives[0] == lives[1]
    life = lives[0]
    assert (life.end, life.settled, life.charged_units, life.deposit) == (End.CLOSED, 3 * PRICE, 3, DEPOSIT + 500)
    assert (len(life.top_ups), len(life.settles), life.refunded) == (1, 1, DEPOSIT + 500 - 3 * PRICE)
    assert list(life_findings(life)) == []
    life.refunded = 0
    assert "went to neither side" in str(next(life_findings(life)))
