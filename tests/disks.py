"""Disks that fail: SQLite file systems that lie on demand, or lose what was never synced when the power goes."""

import random
import threading
from pathlib import Path
from typing import Protocol, TypeAlias

import apsw

FileName: TypeAlias = "str | apsw.URIFilename | None"

_SECTOR = 512
_SURVIVES = 0.5


class Disk(apsw.VFS):
    """The default file system under another name, as default until ``remove``."""

    def __init__(self, name: str) -> None:
        self.usual = apsw.vfs_names()[0]
        super().__init__(name, self.usual, makedefault=True)

    def remove(self) -> None:
        """Make the usual disk the default again."""
        self.unregister()
        apsw.set_default_vfs(self.usual)


class FaultyDisk(Disk):
    """Fails each ``sync`` or ``write``, the next ``sync once``, or is ``full`` or ``read-only``, as ``fault`` says.

    ``spares`` are the writes, or syncs, that still succeed. Counts syncs.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self.spares = 0
        self.syncs = 0
        super().__init__("faulty")

    def fails(self, *faults: str) -> bool:
        """Whether this call does."""
        if self.fault not in faults:
            return False
        self.spares -= 1
        return self.spares < 0

    def xOpen(self, name: FileName, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _FaultyFile(self, name, flags)


_WRITE_ERRORS = {
    "write": apsw.IOError("the disk lied"),
    "full": apsw.FullError("no space left"),
    "read-only": apsw.ReadOnlyError("mounted again, read-only"),
}


class _FaultyFile(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: FileName, flags: list[int]) -> None:
        self._disk = disk
        super().__init__(disk.usual, name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.syncs += 1
        if self._disk.fails("sync", "sync once"):
            self._disk.fault = "sync" if self._disk.fault == "sync" else None
            raise apsw.IOError("the disk lied")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.fails(*_WRITE_ERRORS):
            raise _WRITE_ERRORS[str(self._disk.fault)]
        super().xWrite(data, offset)


class _Change(Protocol):
    def __call__(self, image: bytearray, *, torn: random.Random | None) -> None: ...


class PowerCutDisk(Disk):
    """Remembers of each file what was synced and what was only written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._synced: dict[str, bytearray] = {}
        self._pending: dict[str, list[_Change]] = {}
        super().__init__("power-cut")

    def xOpen(self, name: FileName, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is None:  # a temporary file: nothing survives of it anyway
            return super().xOpen(name, flags)
        return _RecordedFile(self, name.filename() if isinstance(name, apsw.URIFilename) else name, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802
        with self._lock:
            self._synced.pop(filename, None)
            self._pending.pop(filename, None)
        super().xDelete(filename, syncdir)

    def opened(self, name: str) -> None:
        """What is there already is on the disk."""
        with self._lock:
            if name not in self._synced:
                path = Path(name)
                self._synced[name] = bytearray(path.read_bytes() if path.exists() else b"")
                self._pending[name] = []

    def changed(self, name: str, change: _Change) -> None:
        """Not on the disk yet."""
        with self._lock:
            self._pending[name].append(change)

    def synced(self, name: str) -> None:
        """All of the file is on the disk now."""
        with self._lock:
            for change in self._pending[name]:
                change(self._synced[name], torn=None)
            self._pending[name].clear()

    def cut(self, survivors: Path, luck: random.Random) -> None:
        """Write to ``survivors`` what a power cut now would leave: the synced, and by luck some of the rest, torn."""
        with self._lock:
            for name, image in self._synced.items():
                left = bytearray(image)
                for change in self._pending[name]:
                    if luck.random() < _SURVIVES:
                        change(left, torn=luck)
                (survivors / Path(name).name).write_bytes(left)


class _RecordedFile(apsw.VFSFile):
    def __init__(self, disk: PowerCutDisk, path: str, name: FileName, flags: list[int]) -> None:
        self._disk = disk
        self._name = path
        disk.opened(path)
        super().__init__(disk.usual, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        written = bytes(data)

        def change(image: bytearray, *, torn: random.Random | None) -> None:
            kept = written if torn is None else written[: torn.randrange(0, len(written) + _SECTOR, _SECTOR)]
            if len(image) < offset:
                image.extend(bytes(offset - len(image)))
            image[offset : offset + len(kept)] = kept

        self._disk.changed(self._name, change)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        def change(image: bytearray, *, torn: random.Random | None) -> None:
            del image[newsize:]

        self._disk.changed(self._name, change)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._disk.synced(self._name)
