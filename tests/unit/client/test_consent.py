"""Nothing is signed before whoever is to agree has seen what it means (F29)."""

from dataclasses import replace

import pytest

from retainer.cli.consent import preview_json, preview_words
from retainer.errors import DeclinedError, OfferError
from retainer.flows.preview import Preview
from retainer.protocol.amounts import base_units
from retainer.protocol.session import VoucherSigner
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, PRICE, URL


class Person:
    """Says yes or no, after a while, and remembers what was shown."""

    def __init__(self, stage: Stage, answers: str, seconds: float = 0.0) -> None:
        self.shown: list[Preview] = []
        self._stage, self._answers, self._seconds = stage, answers.split(), seconds

    async def __call__(self, preview: Preview) -> bool:
        self.shown.append(preview)
        await self._stage.chain.sleep(self._seconds)
        return self._answers.pop(0) == "yes"


async def test_a_no_signs_nothing_and_a_yes_deposits_what_was_shown(stage: Stage) -> None:
    person = Person(stage, "no yes")
    client = stage.another(consent=person, deposit="0.5")
    before = await stage.agent_tokens()
    with pytest.raises(DeclinedError, match="you said no; nothing was signed"):
        await client.request("GET", URL)
    assert (stage.service.opened, await client.sessions(), await stage.agent_tokens()) == (0, [], before)
    assert (await client.request("GET", URL)).status_code == 200
    assert await stage.agent_tokens() == before - 500_000
    [first, second] = person.shown
    assert first == second
    assert (first.price, first.added, first.deposit, first.at_risk) == (PRICE, 500_000, 500_000, 500_000)
    assert (first.expires_at, first.grace_period, first.session_id) == (NOW + 3600, 900, None)
    # The session is there now: no deposit, no question.
    assert (await client.request("GET", URL)).status_code == 200


async def test_a_top_up_is_shown_with_what_the_session_then_holds(stage: Stage) -> None:
    person = Person(stage, "yes no yes")
    client = stage.another(consent=person, deposit="0.5")
    session = (await client.create_session(URL, "0.5")).session_id
    with pytest.raises(DeclinedError):
        await client.top_up(session, "0.25")
    assert (await client.top_up(session, "0.25")).deposit == 750_000
    shown = person.shown[-1]
    assert (shown.session_id, shown.added, shown.deposit) == (session, 250_000, 750_000)


async def test_a_slow_yes_is_kept_under_a_fresh_challenge(stage: Stage) -> None:
    person = Person(stage, "yes", seconds=300.0)
    client = stage.another(consent=person, deposit="0.5")
    assert (await client.request("GET", URL)).status_code == 200
    assert len(person.shown) == 1


async def test_an_offer_that_got_worse_meanwhile_is_not_what_was_agreed_to(stage: Stage) -> None:
    async def dearer(preview: Preview) -> bool:
        stage.service.offer = lambda request: replace(request, amount=base_units(PRICE + 1))
        await stage.chain.sleep(60.0)
        return True

    stage.service.terms = False
    with pytest.raises(OfferError, match="has changed its offer since you looked"):
        await stage.another(consent=dearer, deposit="0.5").request("GET", URL)
    assert stage.service.opened == 0


async def test_other_terms_after_a_while_are_asked_for_again(stage: Stage) -> None:
    person = Person(stage, "yes no", seconds=60.0)
    client = stage.another(consent=person, deposit="0.5")
    shown = stage.service.offer

    def patient_only_once(request: object) -> object:
        return request if not person.shown else replace(request, grace_period_seconds=1800)  # type: ignore[type-var]

    stage.service.offer = patient_only_once  # type: ignore[assignment]
    with pytest.raises(DeclinedError):
        await client.request("GET", URL)
    stage.service.offer = shown
    assert [preview.grace_period for preview in person.shown] == [900, 1800]


async def test_the_words_say_price_deposit_loss_expiry_and_exit(stage: Stage) -> None:
    person = Person(stage, "yes")
    await stage.another(consent=person, deposit="0.5").request("GET", URL)
    [preview] = person.shown
    words = preview_words(preview)
    for said in (
        "localnet, where tokens are worth nothing",
        f"{stage.mint}, 6 decimals",
        "0.008 a request at most",
        "0.5 lost, if the provider claims requests that it never served",
        "2027-01-15",
        "`retainer withdraw` after 900 s",
    ):
        assert said in words
    assert "LOOK-ALIKE" not in words
    assert "LOOK-ALIKE: this token calls itself like USDC" in preview_words(replace(preview, imitates="USDC"))
    assert "the provider holds the money" in preview_words(replace(preview, in_escrow=False))
    told = preview_json(preview)
    assert (told["action"], told["price"], told["deposit"], told["atRisk"]) == ("open", "8000", "500000", "500000")


async def test_with_vouchers_a_request_is_what_can_be_lost(stage: Stage) -> None:
    stage.service.offer = lambda request: replace(request, voucher_signer=VoucherSigner.CLIENT)
    person = Person(stage, "no")
    with pytest.raises(DeclinedError):
        await stage.another(consent=person, deposit="0.5").request("GET", URL)
    assert person.shown[0].at_risk == PRICE
    assert "0.008 lost for each request under way" in preview_words(person.shown[0])
