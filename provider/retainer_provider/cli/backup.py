"""`retainer-provider backup`."""

from pathlib import Path

import click

from retainer_provider.books.stores.sqlite_backup import back_up
from retainer_provider.cli.common import config_option, examples, settings_of, told
from retainer_provider.settings import SettingsError


@click.command(epilog=examples("backup /var/backups/retainer/books.sqlite"))
@config_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@told
def backup(config: Path, file: Path) -> None:
    """Copy the ledger to a new FILE, also while the service runs."""
    settings = settings_of(config)
    if settings.ledger.url is not None:
        raise SettingsError("these books are on PostgreSQL, which has its own: use pg_basebackup with WAL archiving")
    size = back_up(settings.service.database, file)
    click.echo(f"{file} holds the books as of now, {size} bytes, checked")
