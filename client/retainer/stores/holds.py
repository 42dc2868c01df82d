"""Names that one holds at a time, let go of by the end of a process, however it ends: who waits for which answer."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from retainer.errors import StoreError

_PRIVATE_FOLDER: Final = 0o700
_PRIVATE: Final = 0o600


class Holds(Protocol):
    """Who holds what, among all that share the records."""

    def hold(self, name: str) -> AbstractContextManager[bool]:
        """Hold the name while this lasts; False where somebody else does, and then nothing changes.

        StoreError where that cannot be found out.
        """
        ...


class ProcessHolds:
    """For records that one process uses at a time."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Hold the name while this lasts; False where somebody else does."""
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            yield True
        finally:
            self._held.discard(name)


class FileHolds:
    """For the processes of one machine: a locked file for each name, in a folder that is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Hold the name while this lasts; False where somebody else does, in this process or another."""
        path = self._folder / hashlib.sha256(name.encode()).hexdigest()
        try:
            file = _locked(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be locked: {error.strerror}") from None
        if file is None:
            yield False
            return
        try:
            yield True
        finally:
            # Removed while it is locked: whoever opens it at this moment finds out that it is no longer the one.
            path.unlink(missing_ok=True)
            os.close(file)


def _locked(path: Path) -> int | None:
    """The file, locked by its descriptor alone; None where another one has locked it."""
    path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE)
        try:
            if not _lock(file):
                os.close(file)
                return None
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file)):
                return file
        except FileNotFoundError:
            pass  # removed between the two looks: again
        except BaseException:
            os.close(file)
            raise
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
