"""A local validator with the session program deployed, for tests, demonstrations and play. Needs Node, in a checkout.

with Localnet.start() as localnet:
    async with RpcChain(localnet.rpc_url) as chain: ...
"""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import httpx
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.confirm import SystemTimer
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.errors import RetainerError

_FOLDER: Final = Path(__file__).parents[2] / "tools" / "localnet"
_PROGRAM: Final = Path(__file__).parent / "artifacts" / "session_escrow.so"
_STOP_SECONDS: Final = 10
_AIRDROP_SECONDS: Final = 30
LAMPORTS_PER_SOL: Final = 1_000_000_000


class LocalnetError(RetainerError):
    """The local validator cannot be started, or will not do what was asked."""


def command(
    *, slot_ms: int = 400, port: int = 0, program_id: Pubkey = PROGRAM_ID, program: Path = _PROGRAM
) -> list[str]:
    """What starts the validator: it prints one JSON line {rpc, ws, programId} and ends with its parent or its input.

    With `port` 0 it takes free ports, else that one and the next. LocalnetError where it is not installed.
    """
    script = _FOLDER / "localnet.cjs"
    if not script.is_file() or not (_FOLDER / "node_modules").is_dir():
        raise LocalnetError("the local validator is part of a checkout: clone the repository and run scripts/localnet")
    options = ["--program", str(program_id), "--so", str(program)]
    return ["node", str(script), *options, "--slot-ms", str(slot_ms), "--port", str(port)]


@dataclass(frozen=True, slots=True)
class Localnet:
    """A running validator; leaving the `with` block stops it."""

    process: subprocess.Popen[str]
    rpc_url: str
    ws_url: str
    program_id: Pubkey

    @classmethod
    def start(
        cls, *, slot_ms: int = 400, port: int = 0, program: Path = _PROGRAM, program_id: Pubkey = PROGRAM_ID
    ) -> Self:
        """Start one with `program` at `program_id`, once it answers; LocalnetError with its own words when not."""
        # Its complaints go to a file: a pipe that nobody reads would fill up and block it.
        with tempfile.TemporaryFile("w+") as complaints:
            process = cls._spawn(
                command(slot_ms=slot_ms, port=port, program=program, program_id=program_id), complaints
            )
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                process.communicate()
                complaints.seek(0)
                raise LocalnetError(complaints.read().strip() or f"node ended with status {process.returncode}")
        said = json.loads(line)
        return cls(process, said["rpc"], said["ws"], Pubkey.from_string(said["programId"]))

    @staticmethod
    def _spawn(arguments: list[str], complaints: IO[str]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(  # noqa: S603  our own script, by an argument list
                [*arguments, "--with-stdin"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
        except FileNotFoundError:
            raise LocalnetError("the local validator runs in Node 18 or newer, which is not on PATH") from None

    def stop(self) -> None:
        """End the process and wait for its end."""
        try:
            self.process.communicate(timeout=_STOP_SECONDS)  # closes its input, which ends it
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


async def airdrop(rpc_url: str, chain: Chain, address: Pubkey, lamports: int = 10 * LAMPORTS_PER_SOL) -> None:
    """Lamports from the cluster's faucet, which only test clusters have; returns once they are there."""
    before = await chain.account(address)
    await _ask(rpc_url, "requestAirdrop", str(address), lamports)
    timer = SystemTimer()
    give_up_at = timer.monotonic() + _AIRDROP_SECONDS
    while (after := await chain.account(address)) is None or (before and after.lamports <= before.lamports):
        if timer.monotonic() > give_up_at:
            raise LocalnetError(f"{rpc_url} promised {lamports} lamports to {address}, which did not come")
        await timer.sleep(0.2)


async def time_travel(rpc_url: str, unix_time: int) -> None:
    """Move the chain's clock forward to `unix_time` seconds; only Surfpool can. Slots move with it."""
    await _ask(rpc_url, "surfnet_timeTravel", {"absoluteTimestamp": unix_time * 1000})


async def _ask(rpc_url: str, method: str, *parameters: object) -> object:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    try:
        async with httpx.AsyncClient() as http:
            answer = (await http.post(rpc_url, json=request)).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise LocalnetError(f"{rpc_url} did not answer {method}: {error}") from error
    if "error" in answer:
        raise LocalnetError(f"{rpc_url} refused {method}: {answer['error'].get('message')!s:.200}")
    result: object = answer["result"]
    return result
