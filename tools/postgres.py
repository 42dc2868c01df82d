"""A PostgreSQL server of one's own: private directory, Unix socket only, durable as a real one, gone with the block."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNPRIVILEGED: Final = ("postgres", "nobody")
_WAIT_SECONDS: Final = 60
# Several services with a pool each, and a few people looking.
_CONNECTIONS: Final = 100


class PostgresError(Exception):
    """The server could not be started; the text says what to do."""


def _programs() -> Path:
    """Where Debian (outside of PATH, by version), or else PATH, has the server's programs."""
    versioned = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(versioned[-1]) if versioned else shutil.which("initdb")
    if found is None:
        raise PostgresError("there is no PostgreSQL server: on Debian or Ubuntu, sudo apt-get install postgresql")
    return Path(found).resolve().parent


def _server_user() -> pwd.struct_passwd:
    """Who runs the server: whoever we are, but root, whom PostgreSQL refuses."""
    if os.geteuid():
        return pwd.getpwuid(os.geteuid())
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError(f"PostgreSQL refuses to run as root, and there is no user {' or '.join(_UNPRIVILEGED)}")


def _run(user: pwd.struct_passwd, command: Sequence[str], folder: Path) -> None:
    as_root = not os.geteuid()
    with (folder / "server.log").open("ab") as log:
        done = subprocess.run(
            command,
            cwd=folder,
            user=user.pw_uid if as_root else None,
            group=user.pw_gid if as_root else None,
            extra_groups=[] if as_root else None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        tail = (folder / "server.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise PostgresError(f"{Path(command[0]).name} failed:\n{tail}")


@contextmanager
def _guard(user: pwd.struct_passwd, programs: Path, folder: Path) -> Iterator[None]:
    """Stop the server and remove its folder when the block ends, or with us: the server itself outlives a kill."""
    stop = 'cat; "$1/pg_ctl" -D "$2/data" -m immediate stop; rm -rf "$2"'
    as_root = not os.geteuid()
    guard = subprocess.Popen(
        ("sh", "-c", stop, "sh", str(programs), str(folder)),
        cwd="/",
        user=user.pw_uid if as_root else None,
        group=user.pw_gid if as_root else None,
        extra_groups=[] if as_root else None,
        stdin=subprocess.PIPE,  # ends when we do, whatever ends us
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal to our group must not end the guard before its work
    )
    try:
        yield
    finally:
        guard.communicate()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: it can be killed and started again, followed by another one, and promoted."""

    folder: Path
    _programs: Path
    _user: pwd.struct_passwd
    _arguments: str

    @property
    def url(self) -> str:
        """URL of its database."""
        return f"postgresql://retainer@/postgres?host={quote(str(self.folder), safe='')}"

    def start(self) -> None:
        """Start it on its data, and wait until it answers."""
        self._control("-o", self._arguments, "start")

    def kill(self) -> None:
        """End it as a crash of the machine would: nobody is told, nothing is finished."""
        started = int((self._data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
        servants = _children(started)
        for process in (started, *servants):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(_lives(process) for process in (started, *servants)):
            time.sleep(0.01)
        # Where nobody reaps orphans, its own look at these files would take it for alive.
        for left in (self._data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*")):
            left.unlink()

    def promote(self) -> None:
        """Let a standby take writes."""
        self._control("promote")

    def set(self, setting: str) -> None:
        """Change ``name=value`` while it runs."""
        with (self._data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write(f"{setting}\n")
        self._control("reload")

    def _control(self, *arguments: str) -> None:
        command = (str(self._programs / "pg_ctl"), "-D", str(self._data), "-w", "-t", str(_WAIT_SECONDS), *arguments)
        _run(self._user, command, self.folder)

    @property
    def _data(self) -> Path:
        return self.folder / "data"


@contextmanager
def server(*, settings: Sequence[str] = (), standby: bool = False, following: Server | None = None) -> Iterator[Server]:
    """Run a server while the block lasts, with an empty database. ``settings`` are ``name=value``.

    A ``standby`` follows a primary that never comes: it can be read and not written. One that is ``following`` another
    server begins as its copy, and takes over all it does.
    """
    programs, user = _programs(), _server_user()
    # The system's temporary directory, whose paths are short enough for a Unix socket.
    folder = Path(tempfile.mkdtemp(prefix="retainer-pg-"))
    try:
        os.chown(folder, user.pw_uid, user.pw_gid)
        data = folder / "data"
        made: tuple[str, ...]
        if following is None:
            made = ("initdb", "-U", "retainer", "-A", "trust", "-E", "UTF8", "--locale=C")
        else:
            made = ("pg_basebackup", "-h", str(following.folder), "-U", "retainer", "-R", "--checkpoint=fast")
        _run(user, (str(programs / made[0]), *made[1:], "-D", str(data)), folder)
        if standby:
            (data / "standby.signal").touch()
        given = {"listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": str(_CONNECTIONS)}
        given |= dict(setting.split("=", 1) for setting in settings)
        arguments = " ".join(f"-c {name}='{value}'" for name, value in given.items())
        run = Server(folder, programs, user, arguments)
        with _guard(user, programs, folder):
            run.start()
            yield run
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres(*, settings: Sequence[str] = (), standby: bool = False) -> Iterator[str]:
    """The URL of a ``server``'s database while the block lasts."""
    with server(settings=settings, standby=standby) as run:
        yield run.url


def _children(process: int) -> list[int]:
    """Ids of its children that live."""
    listed = subprocess.run(("ps", "-o", "pid=", "--ppid", str(process)), capture_output=True, text=True, check=False)
    return [int(child) for child in listed.stdout.split()]


def _lives(process: int) -> bool:
    state = subprocess.run(("ps", "-o", "stat=", "-p", str(process)), capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")
