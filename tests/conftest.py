"""What all tests share: the local validator, and the marks that folders imply."""

from importlib.util import find_spec
from pathlib import Path

import pytest

pytest_plugins = ["tests.localnet", "tests.postgres"]

# The one folder for the environment of requirements/anchorpy.txt; `scripts/test` runs it there.
collect_ignore = [] if find_spec("anchorpy") else ["anchorpy"]

_HERE = Path(__file__).parent
_MARKED_FOLDERS = ("e2e", "property")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            folder = item.path.relative_to(_HERE).parts[0]
            if folder in _MARKED_FOLDERS:
                item.add_marker(folder)
