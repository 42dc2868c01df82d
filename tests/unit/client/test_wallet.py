"""Keypair files of the Solana CLI."""

import json
from pathlib import Path

import pytest
from solders.keypair import Keypair

from retainer.errors import WalletError
from retainer.protocol.signing import Signer
from retainer.wallet import create_keypair, load_keypair


def written(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_created_keypair_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "agent.json"
    keypair = create_keypair(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_keypair(path) == keypair


def test_a_keypair_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    keypair = create_keypair(path)
    with pytest.raises(WalletError, match="already exists"):
        create_keypair(path)
    assert load_keypair(path) == keypair


def test_a_keypair_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "agent.json", json.dumps(list(bytes(Keypair()))), mode=0o640)
    with pytest.raises(WalletError, match="chmod 600"):
        load_keypair(path)


def test_a_missing_keypair_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="retainer keygen"):
        load_keypair(tmp_path / "none.json")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "null",
        "[1, 2, 3]",
        json.dumps([256] * 64),
        json.dumps(["a"] * 64),
        json.dumps([1.5] * 64),
        json.dumps([*bytes(Keypair())[:32], *bytes(Keypair())[32:]]),
        "[" * 100_000,
    ],
    ids=["empty", "object", "null", "short", "range", "text", "float", "mismatch", "deep"],
)
def test_what_is_no_keypair_is_refused_without_repeating_it(tmp_path: Path, content: str) -> None:
    path = written(tmp_path / "agent.json", content)
    with pytest.raises(WalletError, match="no Solana CLI keypair") as refused:
        load_keypair(path)
    assert refused.value.__cause__ is None


def test_a_solders_keypair_is_a_signer() -> None:
    signer: Signer = Keypair()
    assert signer.sign_message(b"message").verify(signer.pubkey(), b"message")
