"""F24: files that lie where they must not, and copies that are made of a file in use."""

import asyncio
import shutil
from pathlib import Path

import apsw
import pytest

from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.local_disk import require_local
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.books.stores.sqlite_backup import back_up
from tests.books import PRICE, ask, open_session

MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:45 / {home} rw,relatime shared:2 master:3 - {kind} server:/export rw,vers=4.2
31 30 8:2 / {home}/disk rw - xfs /dev/sdb1 rw
"""


@pytest.mark.row("F24", attack="a file on NFS, SMB or another network file system", twin="on a local disk below it")
@pytest.mark.parametrize("kind", ["nfs4", "nfs", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "with space"
    (home / "disk").mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(home=str(home).replace(" ", r"\040"), kind=kind))
    with pytest.raises(LedgerError, match=rf"network file system \({kind}\).*local disk, or the books on PostgreSQL"):
        require_local(home / "ledger.db", mounts)
    require_local(home / "disk" / "ledger.db", mounts)
    require_local(tmp_path / "ledger.db", mounts)
    require_local(home / "ledger.db", tmp_path / "no such system")


async def spent_in(path: Path, session_id: str) -> int:
    """What the books in a file say, which must be sound and add up."""
    ledger = await SqliteLedger.open(path)
    session, log = await ledger.session(session_id), await ledger.usage(session_id)
    await ledger.aclose()
    assert session is not None
    assert sum(entry.amount for entry in log) == session.spent
    connection = apsw.Connection(str(path))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()
    return session.spent


@pytest.mark.row("F24", attack="a file copied while a service writes to it", twin="a backup holds all acknowledged")
async def test_a_backup_made_under_load_is_whole_where_a_copy_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path)
    session_id = await open_session(ledger, deposit=2**40)
    acknowledged = 0
    made: list[tuple[Path, int]] = []
    over = asyncio.Event()

    async def serve() -> None:
        nonlocal acknowledged
        while not over.is_set():
            await ask(ledger, session_id, None)
            acknowledged += 1

    async def copy() -> None:
        for number in range(5):
            least = acknowledged
            await asyncio.to_thread(back_up, path, tmp_path / f"backup-{number}.db")
            made.append((tmp_path / f"backup-{number}.db", least))
        over.set()

    await asyncio.gather(serve(), copy())
    shutil.copy(path, tmp_path / "copied.db")  # without its write-ahead log
    copied = await spent_in(tmp_path / "copied.db", session_id) if _has_sessions(tmp_path / "copied.db") else 0
    assert copied < acknowledged * PRICE, "which is why there is a command"
    for backup, least in made:
        assert await spent_in(backup, session_id) >= least * PRICE
    await ledger.aclose()


def _has_sessions(path: Path) -> bool:
    connection = apsw.Connection(str(path))
    try:
        found = connection.execute("SELECT count(*) FROM session").get
    except apsw.Error:
        return False
    finally:
        connection.close()
    return bool(found)
