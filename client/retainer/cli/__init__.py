"""The `retainer` command line."""

from retainer.cli.commands import main

__all__ = ["main"]
