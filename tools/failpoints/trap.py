"""What happens when the armed failpoint is reached: a line in a file, then SIGKILL to oneself."""

import os
import signal
import threading
from pathlib import Path

from tools.failpoints.points import POINTS, Point


class Trap:
    """Armed for one point. `witness` gets its name, synced, so that nobody has to believe that it was reached."""

    def __init__(self, armed: Point | None, witness: Path) -> None:
        self._armed = armed
        self._witness = witness

    def is_at(self, point: Point) -> bool:
        """Whether this is the one."""
        return point is self._armed

    def reach(self, name: str) -> None:
        """The process is at a step of this name, which need not be a failpoint; it may not come back."""
        if self._armed is not None and POINTS.get(name) is self._armed:
            self.spring()

    def spring(self, *, later: float = 0) -> None:
        """Die, after so many seconds in which a broken process goes on."""
        with self._witness.open("a") as file:
            file.write(f"{self._armed}\n")
            file.flush()
            os.fsync(file.fileno())
        if later:
            threading.Timer(later, _die).start()
        else:
            _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()  # until the signal arrives, nothing more may happen on this thread
