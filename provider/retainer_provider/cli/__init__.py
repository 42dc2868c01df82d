"""The `retainer-provider` command."""

import click

from retainer.release import tell_version
from retainer_provider.cli.backup import backup
from retainer_provider.cli.books import sessions, settle, show
from retainer_provider.cli.check import check
from retainer_provider.cli.export import export
from retainer_provider.cli.init import init
from retainer_provider.cli.recover import recover
from retainer_provider.cli.serve import serve

# The control character keeps click from refilling the lines.
_HELP = """Meter an HTTP service against prepaid sessions on Solana.

\b
retainer-provider init --realm NAME --mint MINT   write settings and keys to start from
retainer-provider check                           see whether they can be served
retainer-provider serve --upstream URL            serve them

Exit status: 0 done, 1 something is not right, 2 usage, 3 settings or keys, 4 chain, 5 ledger, 6 not found,
130 interrupted.
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=tell_version("retainer-provider"),
    help="Tell the release, its program's id and the SHA-256 of the program's bytes.",
)
def main() -> None:
    """Run the command line."""


for command in (init, check, serve, sessions, show, settle, export, backup, recover):
    main.add_command(command)
