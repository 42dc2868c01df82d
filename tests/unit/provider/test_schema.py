"""A schema that a service publishes must be one that it can hold answers against."""

import json
from pathlib import Path
from typing import Any

import pytest

from retainer.protocol.errors import TermsError
from retainer.protocol.response_schema import canonical_schema
from retainer.protocol.sla import SlaTerms
from retainer_provider.catalog import load_offers
from retainer_provider.sessions.schema import fits, require_usable, schema_ok
from retainer_provider.settings import SettingsError, settings_from
from tests.books import key
from tests.shop import table

NUMBERS = canonical_schema({"$ref": "#/$defs/all", "$defs": {"all": {"type": "array", "items": {"type": "number"}}}})


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "objekt"}, "no JSON Schema"),
        ({"properties": []}, "no JSON Schema"),
        ({"$ref": "#/$defs/missing"}, "leads nowhere"),
        ({"items": {"$ref": "#nowhere"}}, "leads nowhere"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_at_start(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(TermsError, match=reason):
        require_usable(canonical_schema(schema))


def test_a_schema_with_references_inside_is_used() -> None:
    require_usable(NUMBERS)
    assert fits(NUMBERS, b"[1, 2.5]")
    assert not fits(NUMBERS, b'["1"]')


def test_a_schema_that_refers_to_itself_for_ever_fits_nothing() -> None:
    assert not fits(canonical_schema({"$ref": "#"}), b"1")


async def test_a_large_body_is_judged_all_the_same() -> None:
    terms = SlaTerms(response_schema=NUMBERS)
    large = json.dumps([1] * 20_000).encode()
    assert await schema_ok(terms, "GET", 200, large) is True
    assert await schema_ok(terms, "GET", 200, large + b"]") is False
    assert await schema_ok(terms, "HEAD", 200, b"") is None
    assert await schema_ok(SlaTerms(), "GET", 200, large) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot read `response_schema`"),
        ("{", "not acceptable JSON"),
        ('{"minimum": 0.5}', "only integers"),
        ('{"$ref": "https://evil.test/"}', "only references into itself"),
    ],
)
def test_the_settings_name_what_is_wrong_with_the_file(tmp_path: Path, text: str | None, reason: str) -> None:
    raw = table(key("mint"))
    raw["offers"]["standard"]["sla"]["response_schema"] = "answer.json"
    if text is not None:
        (tmp_path / "answer.json").write_text(text)
    with pytest.raises(SettingsError, match=reason):
        load_offers(settings_from(raw, {}, base=tmp_path).offers)
