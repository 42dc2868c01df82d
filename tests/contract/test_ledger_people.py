"""People in browsers, in the books: tokens act for one session, and nobody gets more free asks than there are."""

import asyncio

import pytest
from solders.keypair import Keypair

from retainer.protocol.session import VoucherSigner
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.people import (
    FreeCount,
    FreeOutcome,
    Grant,
    Invoice,
    InvoiceKind,
    InvoiceStage,
    NameOutcome,
    NewInvoice,
    ReplaceOutcome,
    TokenStage,
)
from tests.books import NOW, new_session
from tests.contract.conftest import OpenLedger

WALLET, OTHER = str(Keypair.from_seed(b"w" * 32).pubkey()), str(Keypair.from_seed(b"x" * 32).pubkey())


def invoice(number: int = 0, **changes: object) -> NewInvoice:
    """An invoice over 1.0 to open a session."""
    values: dict[str, object] = {
        "invoice_id": f"invoice-{number}",
        "kind": InvoiceKind.OPEN,
        "offer_id": "standard",
        "amount": 1_000_000,
        "terms": "Payment ...",
        "salt": 2**64 - 1 - number,
        "created_at": NOW + number,
        "expires_at": NOW + 300,
    }
    return NewInvoice(**{**values, **changes})  # type: ignore[arg-type]


async def kept(ledger: Ledger, invoice_id: str = "invoice-0") -> Invoice:
    found = await ledger.people.invoice(invoice_id)
    assert found is not None
    return found


async def test_an_invoice_is_kept_as_it_was_made(open_ledger: OpenLedger) -> None:
    ledger = await open_ledger()
    await ledger.people.add_invoice(invoice(), "digest")
    found = await kept(await open_ledger())
    assert (found.salt, found.amount, found.stage) == (2**64 - 1, 1_000_000, InvoiceStage.WAITING)
    assert found.payer is found.session_id is found.signature is None


async def test_the_first_wallet_named_stays(ledger: Ledger) -> None:
    await ledger.people.add_invoice(invoice(), "digest")
    named = await asyncio.gather(
        *(ledger.people.name_payer("invoice-0", wallet, f"session of {wallet}") for wallet in (WALLET, OTHER, WALLET))
    )
    assert named.count(NameOutcome.OTHER) >= 1
    first = WALLET if named[0] is NameOutcome.NAMED else OTHER
    assert ((await kept(ledger)).payer, (await kept(ledger)).session_id) == (first, f"session of {first}")
    await ledger.people.move_invoice("invoice-0", InvoiceStage.ACTIVE)
    assert await ledger.people.name_payer("invoice-0", first, "another") is NameOutcome.OVER
    assert await ledger.people.name_payer("unknown", first, "another") is NameOutcome.OVER


async def test_a_token_acts_for_its_session_from_activation_on(ledger: Ledger) -> None:
    people = ledger.people
    await people.add_invoice(invoice(), "digest")
    await people.name_payer("invoice-0", WALLET, "session")
    await people.move_invoice("invoice-0", InvoiceStage.SENT, signature="sig")
    assert await people.token("digest") == Grant(None, "invoice-0", TokenStage.STANDBY)
    assert [found.invoice_id for found in await people.undecided(NOW - 1)] == ["invoice-0"]
    await people.move_invoice("invoice-0", InvoiceStage.ACTIVE, received=1_000_000)
    assert await people.token("digest") == Grant("session", "invoice-0", TokenStage.LIVE)
    assert ((await kept(ledger)).signature, (await kept(ledger)).received) == ("sig", 1_000_000)
    assert await people.undecided(NOW - 1) == []


async def test_what_is_decided_stays_decided(ledger: Ledger) -> None:
    await ledger.people.add_invoice(invoice(), "digest")
    await ledger.people.move_invoice("invoice-0", InvoiceStage.REJECTED, reason="another mint")
    await ledger.people.move_invoice("invoice-0", InvoiceStage.ACTIVE)
    assert ((await kept(ledger)).stage, (await kept(ledger)).reason) == (InvoiceStage.REJECTED, "another mint")
    grant = await ledger.people.token("digest")
    assert grant is not None
    assert grant.stage is TokenStage.STANDBY


async def test_a_top_up_hands_out_a_token_whose_first_use_ends_the_old_one(ledger: Ledger) -> None:
    people = ledger.people
    await people.add_invoice(invoice(0), "old")
    await people.name_payer("invoice-0", WALLET, "session")
    await people.move_invoice("invoice-0", InvoiceStage.ACTIVE)
    await people.add_invoice(invoice(1, kind=InvoiceKind.TOPUP, session_id="session", payer=WALLET), "abandoned")
    await people.add_invoice(invoice(2, kind=InvoiceKind.TOPUP, session_id="session", payer=WALLET), "new")
    assert (await kept(ledger, "invoice-1")).stage is InvoiceStage.REPLACED
    await people.first_use("new")
    assert (await people.token("old")) == Grant("session", "invoice-0", TokenStage.LIVE)
    await people.move_invoice("invoice-2", InvoiceStage.ACTIVE)
    assert (await people.token("old")) == Grant("session", "invoice-0", TokenStage.LIVE)
    assert (await people.token("new")) == Grant("session", "invoice-2", TokenStage.FRESH)
    await people.first_use("new")
    stages = [grant.stage for name in ("old", "new") if (grant := await people.token(name))]
    assert stages == [TokenStage.REVOKED, TokenStage.LIVE]
    await people.revoke_token("new")
    assert (await people.token("new")) == Grant("session", "invoice-2", TokenStage.REVOKED)


async def test_a_proof_replaces_the_tokens_once(ledger: Ledger) -> None:
    new = new_session(voucher_signer=VoucherSigner.OPERATOR)
    await ledger.admit(new)
    people, session = ledger.people, new.session_id
    assert await people.sessions_of(str(new.payer)) == [session]
    assert await people.sessions_of(WALLET) == []
    outcomes = await asyncio.gather(*(people.replace_tokens(session, name, 0, NOW) for name in ("one", "two")))
    assert sorted(outcomes) == [ReplaceOutcome.REPLACED, ReplaceOutcome.STALE]
    assert await people.generation(session) == 1
    assert await people.replace_tokens(session, "three", 1, NOW) is ReplaceOutcome.REPLACED
    first = await people.token("one") or await people.token("two")
    assert first is not None
    assert first.stage is TokenStage.REVOKED
    assert await people.replace_tokens("unknown", "four", 0, NOW) is ReplaceOutcome.STALE


async def test_what_came_to_nothing_is_forgotten(ledger: Ledger) -> None:
    people = ledger.people
    for number in range(3):
        await people.add_invoice(invoice(number), f"digest-{number}")
    await people.name_payer("invoice-1", WALLET, "one")
    await people.name_payer("invoice-2", OTHER, "two")
    await people.move_invoice("invoice-2", InvoiceStage.ACTIVE)
    await people.forget_invoices(before=NOW, unnamed=NOW + 301)
    assert await people.invoice("invoice-0") is None
    assert await people.token("digest-0") is None
    assert await people.token("digest-1") is not None
    await people.forget_invoices(before=NOW + 10, unnamed=NOW + 301)
    assert await people.invoice("invoice-1") is None
    assert [found.invoice_id for found in await people.session_invoices("two")] == ["invoice-2"]
    assert (await people.token("digest-2")) == Grant("two", "invoice-2", TokenStage.LIVE)


@pytest.mark.parametrize(
    ("visitors", "outcome"), [(["v"] * 8, FreeOutcome.VISITOR_USED_UP), (list("abcdefgh"), FreeOutcome.ADDRESS_USED_UP)]
)
async def test_askers_at_once_share_what_is_free(
    open_ledger: OpenLedger, visitors: list[str], outcome: FreeOutcome
) -> None:
    """Neither two tabs nor a restart, nor many cookies of one address, make more of it."""
    ledger = await open_ledger()

    async def take(ledger: Ledger, number: int, day: int = 1) -> FreeOutcome:
        return await ledger.people.take_free(
            f"ask-{day}-{number}", day, visitors[number], "address", visitor_most=3, address_most=5
        )

    outcomes = await asyncio.gather(*(take(ledger, number) for number in range(7)))
    most = 3 if outcome is FreeOutcome.VISITOR_USED_UP else 5
    assert outcomes.count(FreeOutcome.TAKEN) == most
    assert set(outcomes) == {FreeOutcome.TAKEN, outcome}
    ledger = await open_ledger()
    assert await take(ledger, 7) is outcome
    assert (await ledger.people.free_count(1, visitors[7], "address")).address == most
    given_back = outcomes.index(FreeOutcome.TAKEN)
    await ledger.people.give_back_free(f"ask-1-{given_back}")
    assert await take(ledger, 7) is FreeOutcome.TAKEN
    assert await take(ledger, 0, day=2) is FreeOutcome.TAKEN
    await ledger.people.forget_free(2)
    assert await ledger.people.free_count(1, visitors[7], "address") == FreeCount(0, 0)
