"""The panel's files: whatever a build left, with the right types, lasting where hashed, under a strict policy."""

import base64
import hashlib
from pathlib import Path

import pytest

from retainer_provider.people.panel import Panel, policy
from retainer_provider.people_settings import PanelSettings
from retainer_provider.settings import SettingsError
from retainer_provider.wire.answers import Answer

PAGE = "<!doctype html><title>x</title><script src=/a.js></script><script>go()</script><style>b{}</style>"
SCRIPT = "console.log('" + "long " * 100 + "')"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "assets" / "index-DiwrgTda.js").write_text(SCRIPT)
    (tmp_path / "assets" / "logo.svg").write_text("<svg/>")
    (tmp_path / ".hidden").write_text("no")
    return tmp_path


def get(panel: Panel, path: str, **headers: str) -> Answer:
    name = panel.file(path)
    assert name is not None
    raw = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    return panel.answer(name, {"type": "http", "headers": raw})


def test_files_are_served_as_what_they_are(folder: Path) -> None:
    panel = Panel(PanelSettings(path="/panel/"), folder)
    page = get(panel, "/panel/")
    assert (page.status, page.body) == (200, PAGE.encode())
    named = dict(page.headers)
    assert (named["content-type"], named["cache-control"]) == ("text/html; charset=utf-8", "no-cache")
    script = dict(get(panel, "/panel/assets/index-DiwrgTda.js").headers)
    assert script["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in script["cache-control"]
    assert dict(get(panel, "/panel/assets/logo.svg").headers)["cache-control"] == "no-cache"
    for path in ("/", "/panel", "/panel/.hidden", "/panel/../index.html", "/panel/assets/", "/assets/logo.svg"):
        assert panel.file(path) is None


def test_what_has_not_changed_is_not_sent_again(folder: Path) -> None:
    panel = Panel(PanelSettings(path="/"), folder)
    etag = dict(get(panel, "/").headers)["etag"]
    again = get(panel, "/", if_none_match=etag)
    assert (again.status, again.body) == (304, b"")


def test_text_is_packed_for_who_can_unpack_it(folder: Path) -> None:
    panel = Panel(PanelSettings(path="/"), folder)
    packed = get(panel, "/assets/index-DiwrgTda.js", accept_encoding="br, gzip")
    assert dict(packed.headers)["content-encoding"] == "gzip"
    assert len(packed.body) < len(SCRIPT)
    for accepts in ("identity", "gzip;q=0, br"):
        assert get(panel, "/assets/index-DiwrgTda.js", accept_encoding=accepts).body == SCRIPT.encode()


def test_a_page_may_reach_this_service_and_the_named_nodes_only() -> None:
    said = policy(PAGE.encode(), ["https://rpc.example.org/path"])
    parts = dict(part.split(" ", 1) for part in said.split("; "))
    assert parts["default-src"] == parts["base-uri"] == parts["frame-ancestors"] == "'none'"
    inline = base64.b64encode(hashlib.sha256(b"go()").digest()).decode()
    assert parts["script-src"] == f"'self' 'sha256-{inline}'"
    assert parts["connect-src"] == "'self' https://rpc.example.org"
    assert "unsafe" not in said


def test_without_a_build_there_is_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="built panel"):
        Panel(PanelSettings(path="/"), tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"path": "panel"},
        {"path": "/panel"},
        {"public_url": "http://shop.example"},
        {"public_url": "https://shop.example/path"},
        {"rpc_urls": ("javascript:alert(1)",)},
        {"rpc_urls": ("https://a; script-src *",)},
    ],
)
def test_settings_that_would_weaken_it_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="`"):
        PanelSettings(**values)  # type: ignore[arg-type]
