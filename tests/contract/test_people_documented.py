"""docs/people-api.md names every call and every event of the API for people, and none that is not there."""

import re
from pathlib import Path

from retainer_provider.people.routes import PATHS

PAGE = (Path(__file__).parents[2] / "docs" / "people-api.md").read_text(encoding="utf-8")
# A wallet's browser asks for this before it posts, and for the picture of the label.
SILENT = {"pay_options", "icon"}


def test_every_call_is_documented_and_no_other() -> None:
    told = {
        (method, re.sub(r"\{\w+\}", "{}", path))
        for method, path in re.findall(r"`(GET|POST|DELETE) /api(/[^`\s?]*)`", PAGE)
    }
    served = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path, name in PATHS if name not in SILENT}
    assert told == served


def test_every_event_is_documented() -> None:
    source = (Path(__file__).parents[2] / "provider/retainer_provider/people/events.py").read_text(encoding="utf-8")
    sent = set(re.findall(r'self\._event\("(\w+)"', source))
    assert sent == set(re.findall(r"^\| `(\w+)` \| (?:invoice id|session id|sequence number) \|", PAGE, re.MULTILINE))
