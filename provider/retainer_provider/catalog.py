"""What is for sale: a settings file's offers with their amounts in base units and their contradictions refused."""

from collections.abc import Mapping
from pathlib import Path

from retainer.protocol.amounts import BaseUnits, parse_amount
from retainer.protocol.availability import Availability
from retainer.protocol.encoding import read_json
from retainer.protocol.errors import AmountError, MessageError, TermsError
from retainer.protocol.response_schema import canonical_schema
from retainer.protocol.sla import SlaTerms
from retainer_provider.books.records import LEDGER_MAX
from retainer_provider.offer_settings import OfferSettings, SlaSettings
from retainer_provider.offers import Offer
from retainer_provider.sessions.schema import require_usable
from retainer_provider.settings import SettingsError
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
    offer = Offer(
        id=name,
        price=price,
        mint=settings.mint,
        decimals=settings.decimals,
        token_program=settings.token_program,
        suggested_deposit=suggested,
        minimum_deposit=minimum,
        maximum_deposit=maximum,
        settle_above=None if settings.settle_above is None else parse_amount(settings.settle_above, settings.decimals),
        credit_before_finality=suggested
        if settings.credit_before_finality is None
        else parse_amount(settings.credit_before_finality, settings.decimals),
        duration=settings.duration,
        grace_period=settings.grace_period,
        idle_timeout=settings.idle_timeout,
        idle_timeout_options=settings.idle_timeout_options,
        max_free_answers=settings.max_free_answers,
        voucher_signer=settings.voucher_signer,
        description=settings.description,
        sla=None if settings.sla is None else _terms(settings.sla),
        routes=settings.tariffs,
        anchor_on_chain=settings.anchor_on_chain,
    )
    for route, tariff in offer.routes.items():
        require_sellable(offer, route, tariff)
    return offer


def require_sellable(offer: Offer, route: str, tariff: Tariff) -> None:
    """SettingsError where the offer's terms do not go with what a route costs, or how it answers."""
    if offer.price * tariff.max_units > offer.suggested_deposit:
        raise SettingsError(
            f"[offers.{offer.id}]: {tariff.max_units} units of {route!r} cost more than `suggested_deposit`, "
            "so that no session opened with it could pay one request"
        )
    if tariff.stream and offer.sla is not None and offer.sla.response_schema is not None:
        raise SettingsError(
            f"[offers.{offer.id}]: {route!r} streams, and an event stream can fit no `response_schema`: "
            "sell it by an offer without one"
        )


def _terms(settings: SlaSettings) -> SlaTerms:
    promised = settings.availability
    return SlaTerms(
        max_latency_ms=settings.max_latency_ms,
        accepted_statuses=settings.accepted_statuses,
        min_body_bytes=settings.min_body_bytes,
        response_schema=None if settings.response_schema is None else _schema(settings.response_schema),
        availability=None
        if promised is None
        else Availability(promised.min_bps, promised.credit_bps, promised.window_requests, promised.window_seconds),
    )


def _schema(path: Path) -> str:
    """The canonical text of the JSON Schema in a file, once it is known that answers can be held against it."""
    try:
        schema = canonical_schema(read_json(path.read_bytes(), str(path)))
    except OSError as error:
        raise SettingsError(f"cannot read `response_schema` {path}: {error.strerror}") from None
    except MessageError as error:
        raise TermsError(str(error)) from None
    require_usable(schema)
    return schema
