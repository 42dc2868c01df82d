"""Whether a ledger's file lies on this machine: over a network neither locks nor WAL's shared memory hold (F24)."""

from pathlib import Path
from typing import Final

from retainer_provider.books.ledger import LedgerError

# What the kernel says of each mount; other systems than Linux have no such file, and are believed.
_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "lustre", "nfs", "nfs4"}
    | {"smb3", "smbfs"}
)


def require_local(path: Path, mounts: Path = _MOUNTS) -> None:
    """LedgerError where the file would lie on a network file system."""
    kind = _file_system(path.absolute(), mounts)
    if kind in _NETWORK:
        raise LedgerError(
            f"{path} lies on a network file system ({kind}), where two machines could open it and a crash could lose "
            "what was committed: put `database` on a local disk, or the books on PostgreSQL ([ledger])."
        )


def _file_system(path: Path, mounts: Path) -> str | None:
    """The type of the mount that the file lies on."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    folder = path.parent.resolve()
    found: tuple[int, str] | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].encode().decode("unicode_escape"))
        depth = len(point.parts)
        # Of mounts at one place, the last is the one that is seen.
        if folder.is_relative_to(point) and (found is None or depth >= found[0]):
            found = depth, after.split()[0]
    return None if found is None else found[1]
