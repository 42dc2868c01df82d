"""`python -m retainer_provider`, and what the `retainer-provider` script calls."""

from retainer_provider.cli import main

if __name__ == "__main__":
    main()
