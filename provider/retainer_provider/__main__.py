"""`retainer-provider`, and `python -m retainer_provider`."""

import sys
from importlib.util import find_spec

# One of each that the extra brings and the client does without.
_EXTRA = ("apsw", "starlette", "structlog", "uvicorn")


def main() -> None:
    """Run the command line, where what it needs is installed."""
    if any(find_spec(name) is None for name in _EXTRA):
        sys.exit('retainer-provider: the service is an extra; install it with: pip install "retainer[provider]"')
    from retainer_provider.cli import main as run  # noqa: PLC0415 - it needs the extra

    run()


if __name__ == "__main__":
    main()
