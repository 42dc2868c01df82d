"""What the settings say of the page that people get: is there something to fund, and does a question lead anywhere?"""

from collections.abc import Mapping
from typing import Final

from retainer.chain.findings import Finding
from retainer_provider.offers import Offer
from retainer_provider.people.invoices import funds_people
from retainer_provider.people.questions import FindPath, Questions
from retainer_provider.settings import Settings, SettingsError

_NAME: Final = "panel"


def check_panel(settings: Settings, offers: Mapping[str, Offer], find: FindPath) -> Finding | None:
    """One finding about [panel] and [panel.ask]; None where neither is set."""
    panel = settings.panel
    if panel.path is None and panel.ask is None:
        return None
    given = settings.free_tier.routes if settings.free_tier.asks_per_day else ()
    try:
        questions = Questions(panel.ask, offers, given, find)
    except SettingsError as error:
        return Finding(_NAME, ok=False, sentence=f"{error}; until then the service does not start")
    asked = {offer.id: questions.of(offer) for offer in offers.values() if funds_people(offer)}
    if not asked:
        return Finding(
            _NAME,
            ok=False,
            sentence="people have nothing to fund: no offer is both on chain and metered by you. Set "
            '`voucher_signer = "operator"` in one, or leave out [panel]',
        )
    told = "; ".join(f"of offer {offer!r} go by {ask['method']} to {ask['path']}" for offer, ask in asked.items())
    return Finding(_NAME, ok=True, sentence=f"questions {told}")
