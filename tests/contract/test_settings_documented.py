"""docs/settings.md and the settings themselves say the same."""

import re
import tomllib
from pathlib import Path
from string import Template

import msgspec
import pytest
from msgspec.structs import FieldInfo

from retainer.protocol.constants import PROGRAM_ID
from retainer_provider.offer_settings import (
    AvailabilitySettings,
    OfferSettings,
    PricedRoute,
    RouteSettings,
    SlaSettings,
)
from retainer_provider.people_settings import AskSettings, FreeTierSettings, PanelSettings
from retainer_provider.responder_settings import CardSettings, ResponderSettings
from retainer_provider.settings import (
    KeySource,
    LedgerSettings,
    LimitSettings,
    MetricsSettings,
    ServiceSettings,
    Settings,
    SettlementSettings,
    settings_from,
)
from tests.books import key

ROOT = Path(__file__).parents[2]
TABLES: dict[str, type[msgspec.Struct]] = {
    "[service]": ServiceSettings,
    "[service.operator]": KeySource,
    "[ledger]": LedgerSettings,
    "[metrics]": MetricsSettings,
    "[routes]": RouteSettings,
    "[panel]": PanelSettings,
    "[panel.ask]": AskSettings,
    "[free_tier]": FreeTierSettings,
    "[offers.NAME]": OfferSettings,
    "[[offers.NAME.routes]]": PricedRoute,
    "[offers.NAME.sla]": SlaSettings,
    "[offers.NAME.sla.availability]": AvailabilitySettings,
    "[responders.NAME]": ResponderSettings,
    "[cards]": CardSettings,
    "[limits]": LimitSettings,
    "[settlement]": SettlementSettings,
}
SUBTABLES = {"sla", "ask", "availability", "operator", "sponsor"}


def documented() -> dict[str, dict[str, str]]:
    """Setting -> default, as written, by table."""
    found: dict[str, dict[str, str]] = {}
    for line in (ROOT / "docs" / "settings.md").read_text().splitlines():
        if heading := re.match(r"## `(.+?)`", line):
            found[heading.group(1)] = {}
        elif row := re.match(r"\| `(\w+)` \| (.+?) \|", line):
            found[list(found)[-1]][row.group(1)] = row.group(2)
    return found


def fields(table: str) -> dict[str, FieldInfo]:
    """The settings of a table; those that are a table themselves are documented as one."""
    return {field.name: field for field in msgspec.structs.fields(TABLES[table]) if field.name not in SUBTABLES}


def test_every_table_and_setting_is_documented_and_nothing_else_is() -> None:
    assert {table: set(rows) for table, rows in documented().items()} == {table: set(fields(table)) for table in TABLES}


@pytest.mark.parametrize("table", TABLES)
def test_the_defaults_are_those_documented(table: str) -> None:
    for name, field in fields(table).items():
        written = documented()[table][name]
        if written.startswith("`"):
            default = tomllib.loads(f"x = {written.strip('`')}")["x"]
            # The default of a path is filled in where the file's folder is known.
            chosen = field.default_factory() if callable(field.default_factory) else field.default
            given = default if name == "database" else chosen
            assert msgspec.to_builtins(given, builtin_types=()) == default or [*given] == default, name
        else:
            assert field.required is (written == "required"), name


def test_what_init_writes_is_served_and_names_its_own_document() -> None:
    template = (ROOT / "provider" / "retainer_provider" / "cli" / "settings.toml.in").read_text()
    chosen = {
        "realm": "shop.test",
        "network": "localnet",
        "rpc_url": "http://127.0.0.1:8899",
        "program_id": str(PROGRAM_ID),
        "upstream": "http://127.0.0.1:9000",
        "price": "0.008",
        "suggested_deposit": "1.0",
        "minimum_deposit": "0.08",
        "mint": str(key("mint")),
        "decimals": "6",
    }
    settings = settings_from(tomllib.loads(Template(template).substitute(chosen)), {}, base=Path())
    assert isinstance(settings, Settings)
    assert "docs/settings.md" in template
