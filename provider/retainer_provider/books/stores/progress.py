"""A stream's progress as the text that both stores keep."""

import json
from dataclasses import asdict

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.meter import Charge
from retainer_provider.books.records import Progress, UsageDraft


def progress_text(progress: Progress) -> str:
    """As it is stored."""
    return json.dumps(asdict(progress))


def progress_of(text: str) -> Progress:
    """What ``progress_text`` wrote."""
    stored = json.loads(text)
    charge = stored["charge"] | {"amount": BaseUnits(stored["charge"]["amount"])}
    headers = tuple((name, value) for name, value in stored["headers"])
    return Progress(Charge(**charge), UsageDraft(**stored["usage"]), headers)
