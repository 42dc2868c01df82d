"""What is for sale: a settings file's offers with their amounts in base units and their contradictions refused."""

from collections.abc import Mapping

from retainer.protocol.amounts import BaseUnits, parse_amount
from retainer.protocol.errors import AmountError, TermsError
from retainer.protocol.sla import SlaTerms
from retainer_provider.books.records import LEDGER_MAX
from retainer_provider.offers import Offer
from retainer_provider.settings import OfferSettings, SettingsError
from retainer_provider.tariffs import Tariff


def load_offers(settings: Mapping[str, OfferSettings]) -> Mapping[str, Offer]:
    """Offers by id; SettingsError names the offer and what contradicts what."""
    offers = {}
    for name, offer in settings.items():
        try:
            offers[name] = _offer(name, offer)
        except (AmountError, TermsError) as error:
            raise SettingsError(f"[offers.{name}]: {error}") from None
    return offers


def _offer(name: str, settings: OfferSettings) -> Offer:
    price, minimum, suggested, maximum = (
        parse_amount(text, settings.decimals)
        for text in (
            settings.price,
            settings.minimum_deposit,
            settings.suggested_deposit,
            settings.maximum_deposit or settings.suggested_deposit,
        )
    )
    if settings.maximum_deposit is None:
        maximum = BaseUnits(LEDGER_MAX)
    if price == 0:
        raise SettingsError(f"[offers.{name}]: `price` is 0: list such paths under [routes] free instead")
    if not price <= minimum <= suggested <= maximum <= LEDGER_MAX:
        raise SettingsError(
            f"[offers.{name}]: price <= minimum_deposit <= suggested_deposit <= maximum_deposit must hold, "
            f"all below {LEDGER_MAX} base units"
        )
    sla = settings.sla
    offer = Offer(
        id=name,
        price=price,
        mint=settings.mint,
        decimals=settings.decimals,
        token_program=settings.token_program,
        suggested_deposit=suggested,
        minimum_deposit=minimum,
        maximum_deposit=maximum,
        duration=settings.duration,
        grace_period=settings.grace_period,
        idle_timeout=settings.idle_timeout,
        idle_timeout_options=settings.idle_timeout_options,
        max_free_answers=settings.max_free_answers,
        voucher_signer=settings.voucher_signer,
        description=settings.description,
        sla=None if sla is None else SlaTerms(sla.max_latency_ms, sla.accepted_statuses, sla.min_body_bytes),
        routes=settings.tariffs,
    )
    for route, tariff in offer.routes.items():
        require_affordable(offer, route, tariff)
    return offer


def require_affordable(offer: Offer, route: str, tariff: Tariff) -> None:
    """SettingsError where a session of the deposit that is suggested could not pay one request of the route."""
    if offer.price * tariff.max_units > offer.suggested_deposit:
        raise SettingsError(
            f"[offers.{offer.id}]: {tariff.max_units} units of {route!r} cost more than `suggested_deposit`, "
            "so that no session opened with it could pay one request"
        )
