"""SQLite's file system with failpoints: the process dies at a sync, or the disk fails or fills up (F23)."""

import apsw

from tools.failpoints.points import Point
from tools.failpoints.trap import Trap

# How long a service goes on over a broken disk before somebody ends it.
_SURVIVES_SECONDS = 1.0


class TrappedDisk(apsw.VFS):
    """The default file system from when it is made; nothing happens before it is `live`."""

    def __init__(self, trap: Trap) -> None:
        self.usual = apsw.vfs_names()[0]
        self.trap = trap
        self.live = False
        self.broken = False
        super().__init__("trapped", self.usual, makedefault=True)

    def xOpen(self, name: "str | apsw.URIFilename | None", flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """SQLite's own name for opening a file."""
        return _TrappedFile(self, name, flags)

    def fails(self, point: Point) -> bool:
        """Whether this kind of access fails; the first failure dooms the process."""
        if not self.live or not self.trap.is_at(point):
            return False
        if not self.broken:
            self.broken = True
            self.trap.spring(later=_SURVIVES_SECONDS)
        return True


class _TrappedFile(apsw.VFSFile):
    def __init__(self, disk: TrappedDisk, name: "str | apsw.URIFilename | None", flags: list[int]) -> None:
        self._disk = disk
        super().__init__(disk.usual, name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.live:
            self._disk.trap.reach(Point.DISK_SYNC_BEFORE)
        if self._disk.fails(Point.DISK_IO_ERROR):
            raise apsw.IOError("input/output error")
        super().xSync(flags)
        if self._disk.live:
            self._disk.trap.reach(Point.DISK_SYNC_AFTER)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.fails(Point.DISK_FULL):
            raise apsw.FullError("no space left on device")
        super().xWrite(data, offset)
