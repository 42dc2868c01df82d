"""`scripts/localnet` as its user meets it: a validator, a token, a faucet, and nothing left behind."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.rpc import RpcChain
from retainer.chain.testing import token_balance

ROOT = Path(__file__).parents[2]
PLAY = [sys.executable, "-m", "tools.localnet.play"]


def faucet(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*PLAY, "--state", str(state), "faucet", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The foreground process, and what it said once it was ready."""
    command = [*PLAY, "--port", "0", "--slot-ms", "50", "--state", str(tmp_path / "state.json")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(5)]
        yield process, said
        process.terminate()


async def test_the_faucet_gives_tokens_and_sol(
    running: tuple[subprocess.Popen[str], list[str]], tmp_path: Path
) -> None:
    _, said = running
    rpc_url = re.findall(r"http://[\d.:]+", said[0])[0]
    mint = Pubkey.from_string(said[2].split()[2])
    owner = Keypair().pubkey()

    first = faucet(tmp_path / "state.json", str(owner))
    second = faucet(tmp_path / "state.json", str(owner), "2.5")

    assert first.stdout == f"{owner} has 100.0 TEST, and 2 SOL more\n"
    assert second.stdout == f"{owner} has 102.5 TEST, and 2 SOL more\n"
    async with RpcChain(rpc_url) as chain:
        assert await token_balance(chain, owner, mint) == 102_500_000
        account = await chain.account(owner)
        assert account is not None
        assert account.lamports == 4_000_000_000
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_end_leaves_nothing_behind(
    running: tuple[subprocess.Popen[str], list[str]], tmp_path: Path, ending: signal.Signals
) -> None:
    process, said = running
    (validator,) = children(process.pid)

    process.send_signal(ending)

    assert process.wait(timeout=20) == 0
    assert said[4] == "Ctrl-C stops it and forgets everything.\n"
    assert not (tmp_path / "state.json").exists()
    assert not Path(f"/proc/{validator}").exists()


def test_the_faucet_says_what_is_wrong(running: tuple[subprocess.Popen[str], list[str]], tmp_path: Path) -> None:
    state, nobody = tmp_path / "state.json", str(Keypair().pubkey())

    assert "is no address" in faucet(state, "nobody").stderr
    assert "digits" in faucet(state, nobody, "1e9").stderr
    assert "start one with: scripts/localnet" in faucet(tmp_path / "none.json", nobody).stderr
    assert faucet(state, "nobody").returncode == 1


def test_a_second_one_on_a_taken_port_leaves_the_first_alone(
    running: tuple[subprocess.Popen[str], list[str]], tmp_path: Path
) -> None:
    _, said = running
    port = re.findall(r":(\d+)", said[0])[0]

    command = [*PLAY, "--port", port, "--state", str(tmp_path / "state.json")]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert second.returncode == 1
    assert f"port {port} cannot be used" in second.stderr
    assert (tmp_path / "state.json").exists()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
