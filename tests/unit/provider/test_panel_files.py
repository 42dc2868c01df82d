"""What the panel's files are served with."""

import re
from importlib.resources import files

from starlette.types import Scope

from retainer_provider.people.panel import Panel, policy
from retainer_provider.people_settings import PanelSettings

NODE = "https://rpc.example.org"
SCOPE: Scope = {"type": "http", "headers": []}


def served_policy(name: str) -> dict[str, list[str]]:
    """The directives that a file of the built panel is served with."""
    answer = Panel(PanelSettings(path="/panel/", rpc_urls=(f"{NODE}/key",))).answer(name, SCOPE)
    rules = dict(answer.headers)["content-security-policy"]
    return {words[0]: words[1:] for words in map(str.split, rules.split(";"))}


def test_the_way_out_may_ask_any_node_and_run_only_what_it_holds() -> None:
    rules = served_policy("exit.html")
    assert {"https:", "http://localhost:*", "http://127.0.0.1:*", NODE} == set(rules["connect-src"])
    page = files("retainer_provider").joinpath("static", "exit.html").read_text(encoding="utf-8")
    (own,) = re.findall(r"script-src ('sha256-[^']+')", page)
    assert rules["script-src"] == ["'self'", own]
    assert not re.search(r"<(script|link|img|iframe)\b[^>]*\b(src|href)=", page)


def test_the_panel_may_ask_its_own_service_and_named_nodes() -> None:
    assert served_policy("index.html")["connect-src"] == ["'self'", NODE]


def test_a_page_without_a_policy_of_its_own_gets_the_strict_one() -> None:
    assert "connect-src 'self';" in policy(b"<!doctype html><p>connect-src https:</p>", ())
    assert "default-src 'none'" in policy(b"", ())


def test_the_panel_finds_the_api_where_the_settings_put_it() -> None:
    settings = PanelSettings(path="/panel/")
    for panel, prefix in ((Panel(settings), "/api"), (Panel(settings, api="/pay/v1"), "/pay/v1")):
        assert f'<meta name="retainer-api" content="{prefix}"'.encode() in panel.answer("index.html", SCOPE).body
