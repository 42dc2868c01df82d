"""A stream's progress as the text that both stores keep."""

import msgspec

from retainer_provider.books.records import Progress


def progress_text(progress: Progress) -> str:
    """As it is stored."""
    return msgspec.json.encode(progress).decode()


def progress_of(text: str) -> Progress:
    """What ``progress_text`` wrote."""
    return msgspec.json.decode(text, type=Progress)
