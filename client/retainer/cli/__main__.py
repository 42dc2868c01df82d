"""`python -m retainer.cli`, where the `retainer` script is not on PATH."""

from retainer.cli import main

main(prog_name="retainer")
