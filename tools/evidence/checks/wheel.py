"""wheel: what is published installs into clean environments and works there, extra by extra."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.metadata import Metadata

from tools.evidence.clones import ROOT, fresh_clone, run_command

if TYPE_CHECKING:
    from tools.evidence.report import Report

PROGRAM: Final = "programs/session_escrow/artifacts/session_escrow.so"
CLIENT_ALONE: Final = (
    "import sys, retainer, retainer.cli; from retainer import SessionClient; "
    "sys.exit(any(name.split('.')[0] in {'retainer_provider', 'uvicorn', 'starlette', 'apsw'} for name in sys.modules))"
)
INIT: Final = ("retainer-provider", "init", "shop", "--realm", "shop.your-domain.org", "--mint")
MINT: Final = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"

# Of Python 3, the minor versions that pyproject.toml names.
OLDEST, NEWEST = 11, 13

# Extra -> the lock file whose versions it is installed in, and what must work then, with its exit status.
EXTRAS: Final[dict[str, tuple[str, list[tuple[tuple[str, ...], int]]]]] = {
    "": (
        "dev.txt",
        [
            (("retainer", "--version"), 0),
            (("python", "-c", CLIENT_ALONE), 0),
            (("retainer", "keygen", "agent.json"), 0),
            (("retainer-provider", "--version"), 1),  # a sentence that names the extra
            (("retainer", "mcp", "https://api.your-domain.org"), 2),  # so does this
        ],
    ),
    "provider": (
        "dev.txt",
        [
            (("retainer-provider", "--version"), 0),
            (("python", "-c", CLIENT_ALONE), 0),
            ((*INIT, MINT), 0),
            (("python", "-c", "import retainer_provider.app, retainer_provider.monitoring.metrics"), 0),
        ],
    ),
    "mcp": (
        "dev.txt",
        [
            (("python", "-c", "import retainer.mcp.server, retainer.mcp.transport"), 0),
            (("python", "-c", CLIENT_ALONE), 0),
            (("retainer", "mcp", "https://api.your-domain.org"), 2),  # a sentence that asks for bounds
        ],
    ),
    "anchorpy": ("anchorpy.txt", [(("python", "-c", "import retainer.chain.anchor"), 0)]),
}


async def run(report: Report) -> None:
    """Build twice, compare, install, try."""
    with fresh_clone() as clone, tempfile.TemporaryDirectory(prefix="retainer-wheel-") as folder:
        if report.sabotage:
            report.plant("the program's bytes are left out of what is built")
            (clone / PROGRAM).unlink()
        place = Path(folder)
        sdist = await build(clone, "sdist", place / "sdist")
        await run_command(["tar", "-xzf", str(sdist)], sdist.parent, echo=False)
        (unpacked,) = (path for path in sdist.parent.iterdir() if path.is_dir())
        wheel = await build(clone, "wheel", place / "wheel")
        again = await build(unpacked, "wheel", place / "again")
        report.equal("sha256 of the wheel that the sdist rebuilds", digest(again), digest(wheel))
        text = (unpacked / "PKG-INFO").read_bytes()
        report.told("published as", "{0.name} {0.version}".format(Metadata.from_email(text, validate=True)))
        for extra, (lock, commands) in EXTRAS.items():
            await try_extra(report, wheel, extra, lock=lock, commands=commands, place=place / (extra or "base"))
        others, missing = interpreters()
        report.told("Pythons besides this one that are not on this machine, so not tried", missing)
        # CI tries the newest one without extras; this one has had them all.
        extra, tried = ("provider", others) if report.scale == "full" else ("", others[-1:])
        lock, commands = EXTRAS[extra]
        for python in tried:
            there = place / python.name
            await try_extra(report, wheel, extra, lock=lock, commands=commands, place=there, python=python)


def interpreters() -> tuple[list[Path], list[str]]:
    """The other supported Pythons that are here, newest last, and the names of those that are not."""
    found: list[Path] = []
    missing: list[str] = []
    homes = [Path(folder) for folder in os.environ["PATH"].split(":")]
    homes += sorted(Path("~/.pyenv/versions").expanduser().glob("*/bin"))
    for minor in range(OLDEST, NEWEST + 1):
        name = f"python3.{minor}"
        here = [home / name for home in homes if (home / name).is_file() and home.name != "shims"]
        if minor == sys.version_info.minor:
            continue
        runs = next((path for path in here if answers(path)), None)
        if runs is None:
            missing.append(name)
        else:
            found.append(runs)
    return found, missing


def answers(python: Path) -> bool:
    """Whether it runs and can make environments: a shim of a version manager may stand for nothing."""
    asked = subprocess.run([str(python), "-c", "import ensurepip, venv"], capture_output=True, check=False)
    return asked.returncode == 0


async def build(source: Path, kind: str, to: Path) -> Path:
    """A distribution of the source, made without any network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(to)]
    status, lines = await run_command(command, source, echo=False)
    if status:
        message = "\n".join(lines[-20:])
        raise RuntimeError(message)
    return only(to)


def only(folder: Path) -> Path:
    """The one file in a folder."""
    (found,) = folder.iterdir()
    return found


async def install(wheel: Path, extra: str, python: Path, place: Path, lock: str) -> tuple[int, list[str]]:
    """Install the wheel into an environment with nothing in it, in the versions of a lock file: status and words."""
    await run_command([str(python), "-m", "venv", str(place)], ROOT, echo=False)
    pins = place / "constraints.txt"
    locked = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    pins.write_text("\n".join(re.findall(r"^[a-z0-9][\w.-]*==[^\s\\]+", locked, re.MULTILINE)), encoding="utf-8")
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--constraint", str(pins), wanted]
    return await run_command(pip, ROOT, echo=False)


async def try_extra(
    report: Report,
    wheel: Path,
    extra: str,
    *,
    lock: str,
    commands: list[tuple[tuple[str, ...], int]],
    place: Path,
    python: Path = Path(sys.executable),
) -> None:
    """Install the wheel with one extra into an environment with nothing in it, and run what it must do."""
    version = "" if python == Path(sys.executable) else f", {python.name}"
    name = f"[{extra}]{version}" if extra else f"without extras{version}"
    status, lines = await install(wheel, extra, python, place, lock)
    report.equal(f"installing {name} ends with", status, 0)
    report.fact(f"pip {name}", lines)
    path = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "HOME": str(place)}
    for command, expected in commands:
        program = [str(place / "bin" / command[0]), *command[1:]]
        status, lines = await run_command(program, place, echo=False, env=path)
        shown = " ".join(word if len(word) < 60 else "..." for word in command)  # noqa: PLR2004 - for reading
        report.equal(f"{name}: {shown} ends with", status, expected)
        traced = sum(line.startswith("Traceback") for line in lines)
        report.equal(f"{name}: tracebacks in what it says", traced, 0)
        report.fact(f"{name}: {shown}", lines)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
