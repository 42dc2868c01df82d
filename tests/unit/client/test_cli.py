"""The command line where no chain is needed: usage, keys, failures and their exit statuses."""

import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.errors import ChainUnavailableError, SendOutcomeUnknownError
from retainer.channels.channel import Settlement
from retainer.cli import main
from retainer.cli.failures import MEANINGS, ExitStatus, exit_status
from retainer.cli.words import account_json, account_words, ended_words
from retainer.errors import (
    CapError,
    ClientError,
    CloseUnconfirmedError,
    NotDueError,
    OfferError,
    OpeningRefusedError,
    PinError,
    ReceiptError,
    SettlementError,
    StoreError,
    TopUpRefusedError,
    TopUpUnconfirmedError,
    UnknownSessionError,
    WalletError,
)
from retainer.protocol.amounts import base_units
from retainer.protocol.errors import AmountError
from retainer.protocol.events import SessionOpened
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount
from retainer.wallet import load_keypair

NOBODY = "http://127.0.0.1:1"
SESSION = str(Pubkey.new_unique())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_keygen_writes_a_key_that_ask_can_read(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    made = run("keygen", str(path), "--json")
    assert (made.exit_code, json.loads(made.stdout)["address"]) == (0, str(load_keypair(path).pubkey()))
    again = run("keygen", str(path))
    assert again.exit_code == ExitStatus.USAGE
    assert "already exists" in again.stderr


def test_no_sessions_is_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    run("keygen", str(path))
    shared = ("--keypair", str(path), "--store", str(tmp_path / "sessions.sqlite"), "--rpc-url", NOBODY)
    assert "no sessions" in run("sessions", *shared).stdout
    assert json.loads(run("sessions", "--json", *shared).stdout) == []
    unknown = run("close", SESSION, "--json", *shared)
    assert unknown.exit_code == ExitStatus.UNKNOWN_SESSION
    assert json.loads(unknown.stderr)["error"]["kind"] == "UnknownSession"


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("show", SESSION, "--rpc-url", NOBODY), ExitStatus.UNREACHABLE, "did not answer"),
        (("show", "abc"), ExitStatus.USAGE, "no base58 address"),
        (("sessions", "--keypair", "/nowhere/key.json"), ExitStatus.USAGE, "retainer keygen"),
        (("ask", "http://127.0.0.1:1/", "--times", "0"), ExitStatus.USAGE, "--times"),
        (("ask", "http://127.0.0.1:1/", "-n", "2", "--idempotency-key", "a"), ExitStatus.USAGE, "leave out --times"),
        (("ask", "http://127.0.0.1:1/", "--top-up", "1"), ExitStatus.USAGE, "--max-deposit"),
        (("ask", "--network", "testnet", "http://127.0.0.1:1/"), ExitStatus.USAGE, "testnet"),
    ],
)
def test_failures_are_a_sentence_and_a_status(arguments: tuple[str, ...], status: ExitStatus, sentence: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_ask_says_when_the_service_or_the_body_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    run("keygen", str(path))
    shared = ("--keypair", str(path), "--store", str(tmp_path / "sessions.sqlite"))
    assert run("ask", "http://127.0.0.1:1/", *shared).exit_code == ExitStatus.UNREACHABLE
    missing = run("ask", "http://127.0.0.1:1/", "--data", f"@{tmp_path}/none", *shared)
    assert (missing.exit_code, "cannot be read" in missing.stderr) == (ExitStatus.USAGE, True)
    assert run("ask", "not a url", *shared).exit_code != ExitStatus.OK


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CapError("x"), ExitStatus.FORBIDDEN),
        (PinError("x"), ExitStatus.FORBIDDEN),
        (OfferError("x"), ExitStatus.REFUSED),
        (OpeningRefusedError("x", SESSION), ExitStatus.REFUSED),
        (TopUpRefusedError("x", SESSION), ExitStatus.REFUSED),
        (TopUpUnconfirmedError("x", SESSION), ExitStatus.PENDING),
        (CloseUnconfirmedError("x", SESSION), ExitStatus.PENDING),
        (NotDueError("x", SESSION, available_at=1), ExitStatus.PENDING),
        (SendOutcomeUnknownError("x", "y"), ExitStatus.PENDING),
        (ReceiptError("x", SESSION), ExitStatus.DISHONEST),
        (SettlementError("x", SESSION), ExitStatus.DISHONEST),
        (UnknownSessionError("x", SESSION), ExitStatus.UNKNOWN_SESSION),
        (WalletError("x"), ExitStatus.USAGE),
        (StoreError("x"), ExitStatus.USAGE),
        (AmountError("x"), ExitStatus.USAGE),
        (ChainUnavailableError("x"), ExitStatus.UNREACHABLE),
        (httpx.ConnectError("x"), ExitStatus.UNREACHABLE),
        (ClientError("x"), ExitStatus.FAILED),
    ],
)
def test_every_kind_of_error_has_its_status(error: Exception, status: ExitStatus) -> None:
    assert exit_status(error) is status


def test_every_status_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitStatus)
    assert len(set(ExitStatus)) == len(list(ExitStatus))


def account(**changes: object) -> SessionAccount:
    operator, nobody = Keypair().pubkey(), Pubkey.default()
    fields: dict[str, object] = {
        "version": 1,
        "bump": 255,
        "status": ChainStatus.OPEN,
        "escrow_kind": EscrowKind.VAULT,
        "decimals": 6,
        "payer": nobody,
        "payee": nobody,
        "operator": operator,
        "authorized_signer": operator,
        "rent_payer": nobody,
        "mint": nobody,
        "escrow": nobody,
        "salt": 1,
        "open_slot": 2,
        "deposit": base_units(1_000_000),
        "settled": base_units(0),
        "charged_units": 0,
        "grace_period": 900,
        "opened_at": 1_800_000_000,
        "closure_started_at": 0,
        "price_per_unit": base_units(8_000),
        "expires_at": 1_800_003_600,
        "sla_hash": bytes(32),
        **changes,
    }
    return SessionAccount(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["metered: the operator names the amount", "1.0, held in the program's own vault", "0.008 for each"]),
        ({"expires_at": 0}, ["never", "once the payer has asked to close"]),
        ({"expires_at": 1_800_000_001}, ["open, and expired"]),
        ({"status": ChainStatus.CLOSING, "closure_started_at": 1_800_000_000}, ["closing: the payer asked"]),
        ({"status": ChainStatus.CLOSED}, ["all paid out"]),
        ({"authorized_signer": Pubkey.new_unique()}, ["vouchers signed by"]),
        ({"escrow_kind": EscrowKind.ATA, "price_per_unit": base_units(0)}, ["associated token account", "varies"]),
        ({"sla_hash": b"\x11" * 32}, ["terms with hash 1111"]),
    ],
)
def test_an_account_is_told_in_words(changes: dict[str, object], words: list[str]) -> None:
    told = account_words(SESSION, account(**changes), now=1_800_000_100)
    assert all(word in told for word in words), told


def test_an_account_as_json_has_amounts_as_text() -> None:
    told = json.loads(json.dumps(account_json(SESSION, account())))
    assert (told["deposit"], told["status"], told["deadline"]) == ("1000000", "open", 1_800_004_500)


def test_an_ended_session_is_told_in_words() -> None:
    key = Pubkey.new_unique()
    opened = SessionOpened(
        key, key, key, key, key, key, base_units(10**6), base_units(8000), 0, 1_800_000_000, bytes(32)
    )
    settlement = Settlement("signature", base_units(240_000), base_units(760_000))
    told = ended_words(SESSION, opened, settlement, 6)
    assert all(word in told for word in ("gone", "0.24", "0.76", "signature"))
