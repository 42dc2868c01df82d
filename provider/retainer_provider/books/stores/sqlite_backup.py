"""A copy of a ledger's file, made while a service writes it: whole as of one moment, checked, and never half there."""

import os
from contextlib import closing
from pathlib import Path

import apsw

from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.sqlite_file import check_file, require_ledger

_WAIT_MS = 5000


def back_up(source: Path, target: Path) -> int:
    """Copy the ledger at `source` to the new file `target`; returns its bytes. LedgerError says what is in the way."""
    if not source.exists():
        raise LedgerError(f"there is no ledger at {source}: look at `database` in the settings")
    partial = target.with_name(target.name + ".partial")
    try:
        # Both names are taken by us alone: an older backup is never overwritten.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise LedgerError(f"{target} is there already: give the backup a name of its own") from None
    except OSError as error:
        raise LedgerError(f"{target} could not be written: {error.strerror}") from None
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        _copy(source, partial)
        partial.replace(target)
        _sync(target.parent)
    except (apsw.Error, OSError) as error:
        raise LedgerError(f"{source} could not be backed up to {target}: {error}. Look at both disks.") from error
    finally:
        partial.unlink(missing_ok=True)
        if not target.stat().st_size:
            target.unlink()
    return target.stat().st_size


def _copy(source: Path, target: Path) -> None:
    with (
        closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as ledger,
        closing(apsw.Connection(str(target))) as copy,
    ):
        ledger.set_busy_timeout(_WAIT_MS)
        require_ledger(ledger, source)
        with copy.backup("main", ledger, "main") as backup:
            backup.step(-1)  # in one go, and so in one read transaction: of one moment, whatever is written meanwhile
        copy.pragma("journal_mode", "delete")  # one file, nothing beside it
        check_file(copy, target)
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
