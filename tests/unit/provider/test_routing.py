from dataclasses import replace
from unittest.mock import ANY
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer_provider.offers import Offer
from retainer_provider.settings import SettingsError
from retainer_provider.tariffs import ONE_UNIT, Tariff
from retainer_provider.wire.routing import Priced, RouteTable, Unpriced
from tests.books import key
from tests.shop import offers

BASE = offers(key("mint"))["standard"]
CHEAP = replace(BASE, id="cheap", routes=dict.fromkeys(("/v1/*", "/exact"), ONE_UNIT))
DEAR = replace(BASE, id="dear", routes={"/v1/dear/*": ONE_UNIT})


def shop() -> RouteTable:
    return RouteTable({"cheap": CHEAP, "dear": DEAR}, free=["/public/*", "/health"])


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/v1", CHEAP),
        (b"/v1/", CHEAP),
        (b"/v1/a", CHEAP),
        (b"/v1/a%20b", CHEAP),
        (b"/v1/a.b", CHEAP),
        (b"/v1/a//b", CHEAP),
        (b"/v1/a/../b", CHEAP),
        (b"/v1/dear", DEAR),
        (b"/v1/dear/x", DEAR),
        (b"/v1/dear/%C3%A4", DEAR),
        (b"/exact", CHEAP),
        (b"/health", Unpriced.FREE),
        (b"/public/logo.png", Unpriced.FREE),
        (b"/", Unpriced.UNKNOWN),
        (b"/exact/more", Unpriced.UNKNOWN),
        (b"/v2", Unpriced.UNKNOWN),
        (b"*", Unpriced.UNKNOWN),
        (b"http://elsewhere/v1/a", Unpriced.UNKNOWN),
    ],
)
def test_the_longest_pattern_prices_a_path(path: bytes, target: Offer | Unpriced) -> None:
    assert shop().find(path) == (Priced(target) if isinstance(target, Offer) else target)


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/x/../dear/q",
        b"/v1/./dear/q",
        b"/v1//dear/q",
        b"/v1/Dear/q",
        b"/v1/%64ear/q",
        b"/v1/%2564ear/q",
        b"/v1/dear%2fq",
        b"/v1/dear%5Cq",
        b"/v1/\\dear\\q",
        b"/v1/dear;v=1/q",
        b"/v1/dear./q",
        b"/v1/de\x00ar/q",
        b"/public/../v1/a",
        b"/public/..%2fv1/a",
        b"/public/../secret",
        b"/public/%2e%2e/secret",
    ],
)
@pytest.mark.row(
    "F19", attack="doubled slashes, escapes, case, parameters, trailing dots", twin="the plain path is priced"
)
def test_a_path_that_a_server_could_read_as_another_offers_is_refused(path: bytes) -> None:
    """F19, F20: paid for the cheap one, used on the dear one."""
    assert shop().find(path) is Unpriced.AMBIGUOUS


def test_where_one_offer_covers_everything_nothing_is_ambiguous() -> None:
    everything = RouteTable({"all": replace(BASE, routes={"/*": ONE_UNIT})})
    for path in (b"/", b"/a//b", b"/a/../b", b"/%2e%2e/x", b"/a;b/c"):
        assert everything.find(path) is not Unpriced.AMBIGUOUS


def test_one_offer_may_sell_its_routes_for_different_numbers_of_units() -> None:
    """F20: paid as a cheap route and read as a dear one of the same offer."""
    two = RouteTable({"all": replace(BASE, routes={"/v1/*": ONE_UNIT, "/v1/dear": Tariff(units=5, max_units=5)})})
    assert two.find(b"/v1/dear") == Priced(replace(BASE, routes=ANY), Tariff(units=5, max_units=5))
    assert two.find(b"/v1/Dear") is Unpriced.AMBIGUOUS


@pytest.mark.row("F20", attack="two prices for spellings of one path", twin="one price is accepted")
def test_routes_that_differ_only_in_spelling_cannot_have_two_prices() -> None:
    with pytest.raises(SettingsError, match="only in spelling"):
        RouteTable({"cheap": replace(CHEAP, routes={"/a": ONE_UNIT}), "dear": replace(DEAR, routes={"/A/": ONE_UNIT})})


@given(
    st.lists(st.sampled_from(["dear", "DEAR", "..", ".", "", "x", "v1", "%64ear", "dear.", "dear;a", "%2e%2e"])),
    st.sampled_from(["", "%"]),
)
@pytest.mark.row("F19", attack="any path, read by the most lenient server", twin="sold as what every reading agrees on")
def test_whatever_is_sold_as_cheap_is_cheap_also_to_the_most_lenient_reader(segments: list[str], safe: str) -> None:
    """F19: a server that decodes, folds case, drops parameters and resolves dots must not get from cheap to dear."""
    path = "/v1/" + "/".join(quote(part, safe="%;") if safe else part for part in segments)
    if shop().find(path.encode()) != Priced(CHEAP):
        return
    for text in (path, path.replace("%64", "d").replace("%2e", ".")):
        kept: list[str] = []
        for part in text.lower().split("/"):
            plain = part.partition(";")[0].rstrip(".") if part.strip(".") else part
            if plain == ".." and kept:
                kept.pop()
            elif plain not in {"", ".", ".."}:
                kept.append(plain)
        assert kept[:2] != ["v1", "dear"]
