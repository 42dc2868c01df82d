"""The failpoints are complete: no step that changes the books or the chain is without a moment to die at (F11, F13)."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from retainer_provider.books.ledger import Ledger
from tools.failpoints.points import POINTS, Point
from tools.failpoints.seams import TrappedLedger
from tools.failpoints.trap import Trap

READS = {"session", "sessions", "due", "drained", "closing", "settlement", "left_behind", "usage"}
READS |= {"tally", "parties", "expected_transfers", "old_logs", "cut_streams", "look", "aclose"}
# A crash undoes the first by itself; the second is the agent's own exit, which `scripts/evidence exit` shows; the
# others come with no money: a deposit or transfer that never was, a claim that dies with its process, a body that is
# not kept; and a log leaves the books once it is archived; no service adopts: `recover` does, and is run again.
NO_POINT = {"release", "mark_closing_on_chain", "abandon", "drop_transfer", "claim_settlement", "purge_answers"}
NO_POINT |= {"adopt", "forget_log"}
# What a fork brought about, the next look finds again.
NO_POINT |= {"reland"}
# What is kept beside the money: people's tokens and cards.
NO_POINT |= {"transact", "transact_ahead"}


def test_every_write_to_the_books_is_a_failpoint_before_and_after() -> None:
    writes = {name for name, _ in inspect.getmembers(Ledger, inspect.iscoroutinefunction)} - READS - NO_POINT
    trapped = {point.split()[0].removeprefix("ledger.") for point in Point if point.startswith("ledger.")}
    assert trapped == writes
    assert {f"ledger.{name} {moment}" for name in writes for moment in ("before", "after")} <= POINTS.keys()


async def test_the_double_says_where_it_is_before_and_after(tmp_path: Path) -> None:
    said = []

    class Told(Trap):
        def reach(self, name: str) -> None:
            said.append(name)

    class Books:
        failure = "none of the ledger's"

        async def account_gone(self, session_id: str) -> str:
            said.append(session_id)
            return "done"

    ledger = TrappedLedger(Books(), Told(None, tmp_path / "witness"))
    assert await ledger.account_gone("session") == "done"
    assert said == ["ledger.account_gone before", "session", "ledger.account_gone after"]
    assert ledger.failure == Books.failure


def test_a_reached_point_kills_and_leaves_its_name(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    code = (
        "import sys; from pathlib import Path; from tools.failpoints.points import Point; "
        "from tools.failpoints.trap import Trap; trap = Trap(Point.COMMIT_AFTER, Path(sys.argv[1])); "
        "trap.reach(Point.COMMIT_BEFORE); trap.reach('no point'); print('alive', flush=True); "
        "trap.reach(Point.COMMIT_AFTER); print('dead')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(witness)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-9, "alive\n"), done.stderr
    assert witness.read_text() == "ledger.commit after\n"


@pytest.mark.parametrize("rpc_url", ["https://api.devnet.solana.com", "http://127.0.0.1.example.org:8899"])
def test_nothing_dies_where_the_money_may_be_real(tmp_path: Path, rpc_url: str) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'[service]\nrealm = "shop.test"\nnetwork = "devnet"\nrpc_url = "{rpc_url}"\noperator_keypair = "none.json"\n'
        '[offers.demo]\nprice = "1"\nmint = "So11111111111111111111111111111111111111112"\ndecimals = 9\n'
        'suggested_deposit = "1"\nminimum_deposit = "1"\n'
    )
    command = [sys.executable, "-m", "tools.failpoints", "--config", str(settings), "--witness", str(tmp_path / "w")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "local validator" in done.stderr
