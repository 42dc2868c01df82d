"""The language-neutral vectors under ``tests/vectors``: values that every implementation of the wire must reproduce."""

import json
import os
from pathlib import Path
from typing import Any

# `scripts/evidence vectors --sabotage` has the tests read a spoiled copy.
_FOLDER = Path(os.environ.get("RETAINER_VECTORS", Path(__file__).parent / "vectors"))


def golden(name: str) -> Any:  # noqa: ANN401 - JSON as it is, checked by the tests that read it
    """The vectors in ``NAME.json``."""
    return json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
