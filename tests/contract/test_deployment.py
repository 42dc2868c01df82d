"""deploy/: an image without secrets that runs as nobody, a unit that may do little, and what both install."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from retainer_provider.cli import main
from retainer_provider.cli.common import ExitStatus
from retainer_provider.settings import LimitSettings, ServiceSettings, environment_names

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "retainer-provider.service"
SECRET_NAMES = re.compile(r"SECRET|KEYPAIR|PASSWORD|TOKEN|PRIVATE", re.IGNORECASE)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined, comments left out."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def arguments(name: str, stage: list[tuple[str, str]]) -> list[str]:
    return [given for instruction, given in stage if instruction == name]


def test_the_images_base_is_a_named_version_and_small() -> None:
    for stage in stages():
        image = arguments("FROM", stage)[0].split()[0]
        assert re.fullmatch(r"python:3\.\d+-slim-\w+", image), image


def test_the_last_stage_runs_as_a_user_without_rights() -> None:
    *_, last = stages()
    names = [name for name, _ in last]
    assert arguments("USER", last) == ["10001:10001"]
    assert "RUN" not in names[names.index("USER") :]
    # Neither compilers nor sources nor pip's own index in what is shipped: it is copied ready from the stage before.
    assert arguments("COPY", last) == ["--from=build /opt/retainer /opt/retainer"]
    assert "ADD" not in [name for stage in stages() for name, _ in stage]


def test_no_layer_holds_a_secret() -> None:
    for name, given in instructions():
        if name in {"ENV", "ARG", "COPY", "RUN"}:
            assert not SECRET_NAMES.search(given), (name, given)
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    rules = [rule for rule in ignored if rule and not rule.startswith("#")]
    assert rules[0] == "*", "an allow list: what is not named stays out"
    assert "provider/panel" in rules, "what builds the panel, with its node_modules, is not built from"
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    for copied in arguments("COPY", stages()[0]):
        for source in shlex.split(copied)[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source == one or source.startswith(f"{one}/") for one in allowed), source


def test_only_locked_packages_are_installed() -> None:
    installs = [
        step for given in arguments("RUN", stages()[0]) for step in given.split("&&") if re.search(r"pip install", step)
    ]
    assert len(installs) == 3
    assert all("--require-hashes" in step or "--no-index --no-deps" in step for step in installs)


def test_the_images_command_is_one_that_there_is_and_its_health_is_asked() -> None:
    *_, last = stages()
    [entry], [command], [health] = arguments("ENTRYPOINT", last), arguments("CMD", last), arguments("HEALTHCHECK", last)
    assert entry == '["retainer-provider"]'
    words = shlex.split(command.strip("[]").replace(",", " "))
    assert CliRunner().invoke(main, [words[0], "--help"]).exit_code == 0
    options = {option for parameter in main.commands[words[0]].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    defaults = {field.name: field.default for field in msgspec.structs.fields(ServiceSettings)}
    assert f":{defaults['port']}{defaults['api_prefix']}/healthz" in health
    given = dict(pair.split("=", 1) for env in arguments("ENV", last) for pair in shlex.split(env))
    assert {name for name in given if name.startswith("RETAINER_")} <= environment_names().keys()


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", text, re.MULTILINE))


def test_the_images_lock_file_is_the_service_at_the_tested_versions_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["provider"], *extras["postgres"]]
    image, tested = locked("provider.txt"), locked("dev.txt")
    for text in needed:
        requirement = Requirement(text)
        assert image[requirement.name] in requirement.specifier
    assert image.items() <= tested.items()
    assert not {"pytest", "ruff", "mypy", "mkdocs", "hatchling", "hypothesis"} & image.keys()


def unit() -> dict[str, list[str]]:
    """Directive -> values, of all sections; a directive may come several times."""
    found = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        if not line.startswith(("#", "[")) and "=" in line:
            name, _, value = line.partition("=")
            found[name].append(value)
    return dict(found)


def test_the_unit_serves_as_its_own_user_and_stops_as_the_service_does() -> None:
    given = unit()
    assert given["User"] == ["retainer"]
    words = shlex.split(given["ExecStart"][0])
    assert words[0] == "/opt/retainer/bin/retainer-provider"
    assert CliRunner().invoke(main, [words[1], "--help"]).exit_code == 0
    names = {pair.split("=")[0] for pair in given["Environment"]}
    assert names <= environment_names().keys()
    assert not any(SECRET_NAMES.search(name) for name in names)
    prevented = {int(number) for number in given["RestartPreventExitStatus"][0].split()}
    assert prevented == {ExitStatus.USAGE, ExitStatus.SETTINGS}
    assert int(given["TimeoutStopSec"][0]) > 2 * LimitSettings().shutdown_seconds


@pytest.mark.parametrize(
    ("directive", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("LimitCORE", "0"),
        ("UMask", "0077"),
        ("StateDirectoryMode", "0700"),
        ("ConfigurationDirectoryMode", "0700"),
    ],
)
def test_the_unit_gives_up_what_the_service_does_not_need(directive: str, value: str) -> None:
    assert unit()[directive] == [value]


def test_systemd_takes_the_unit_and_finds_it_little_exposed(tmp_path: Path) -> None:
    """By systemd's own word, where it is installed; elsewhere that no directive is unknown to its manual."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert all(re.fullmatch(r"[A-Z]\w+", directive) for directive in unit())
        return
    # Where the service would be installed there is nothing here: Python stands in for it.
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/retainer/bin/retainer-provider", sys.executable))
    verified = subprocess.run((analyze, "verify", str(copy)), capture_output=True, text=True, check=False)
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if UNIT.name in line]) == (0, [])
    rated = subprocess.run(
        (analyze, "security", "--offline=true", "--threshold=20", str(copy)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-500:]
