"""Keys that lie elsewhere: in the environment, or behind a command whose every signature is verified."""

import sys
from pathlib import Path

import pytest
from solders.keypair import Keypair

from retainer_provider.keys import keypair_text, load_keys
from retainer_provider.local_key import LocalKey
from retainer_provider.settings import SettingsError
from retainer_provider.signers import CommandSigner, SigningError
from tests.books import key
from tests.shop import settings

OPERATOR = Keypair.from_seed(b"o" * 32)
SIGN = """
import base64, sys
from solders.keypair import Keypair
message = base64.b64decode(sys.stdin.readline())
signature = Keypair.from_seed({seed!r} * 32).sign_message(message)
print({form})
"""
BASE58, BASE64 = "signature", "base64.b64encode(bytes(signature)).decode()"


@pytest.mark.parametrize("message", [b"", b"message", bytes(5000)])
def test_a_key_held_here_signs_as_its_keypair_and_does_not_show_itself(message: bytes) -> None:
    held = LocalKey(OPERATOR)
    assert held.pubkey() == OPERATOR.pubkey()
    assert held.sign_message(message) == OPERATOR.sign_message(message)
    assert repr(held) == f"LocalKey({OPERATOR.pubkey()})"


def command(form: str = BASE58, seed: bytes = b"o") -> list[str]:
    return [sys.executable, "-c", SIGN.format(seed=seed, form=form)]


def signer(*words: str, timeout: float = 10.0) -> CommandSigner:
    return CommandSigner(words, OPERATOR.pubkey(), timeout=timeout)


@pytest.mark.parametrize("form", [BASE58, BASE64])
def test_a_command_signs_what_it_is_given(form: str) -> None:
    assert signer(*command(form)).sign_message(b"message") == OPERATOR.sign_message(b"message")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (command(seed=b"x"), "signed with another key"),
        (command("'no signature'"), "printed no signature"),
        (command("''"), "printed no signature"),
        (command("'AA=='"), "printed no signature"),
        ([sys.executable, "-c", "raise SystemExit('the vault is sealed')"], "status 1: the vault is sealed"),
        (["/does/not/exist"], "cannot be run"),
    ],
)
def test_what_is_no_signature_of_this_key_is_refused(words: list[str], reason: str) -> None:
    with pytest.raises(SigningError, match=reason):
        signer(*words).sign_message(b"message")


def test_a_command_that_hangs_is_given_up() -> None:
    hanging = signer(sys.executable, "-c", "import time; time.sleep(60)", timeout=0.2)
    with pytest.raises(SigningError, match=r"within 0\.2 s"):
        hanging.sign_message(b"message")


def test_a_commands_arguments_are_not_shown() -> None:
    assert "hunter2" not in repr(signer("sign", "--pin", "hunter2"))
    chosen = {"command": ["sign", "--pin", "hunter2"], "public_key": str(OPERATOR.pubkey())}
    assert "hunter2" not in repr(settings(key("mint"), operator_keypair=None, operator=chosen))


def test_the_operator_may_be_a_command(tmp_path: Path) -> None:
    chosen = {"command": command(), "public_key": str(OPERATOR.pubkey())}
    keys = load_keys(settings(key("mint"), operator_keypair=None, operator=chosen).service)
    assert keys.operator.pubkey() == OPERATOR.pubkey()
    wrong = {"command": command(seed=b"x"), "public_key": str(OPERATOR.pubkey())}
    with pytest.raises(SettingsError, match=r"the operator.s key: the signer .* another key"):
        load_keys(settings(key("mint"), operator_keypair=None, operator=wrong).service)
    assert not list(tmp_path.iterdir())


def test_keys_may_lie_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    sponsor = Keypair.from_seed(b"s" * 32)
    monkeypatch.setenv("OPERATOR_KEY", keypair_text(OPERATOR))
    monkeypatch.setenv("SPONSOR_KEY", keypair_text(sponsor))
    chosen = settings(
        key("mint"), operator_keypair=None, operator={"env": "OPERATOR_KEY"}, sponsor={"env": "SPONSOR_KEY"}
    )
    keys = load_keys(chosen.service)
    assert keys.sponsor is not None
    assert (keys.operator.pubkey(), keys.sponsor.pubkey()) == (OPERATOR.pubkey(), sponsor.pubkey())
    monkeypatch.setenv("OPERATOR_KEY", "[1, 2, 3]")
    with pytest.raises(SettingsError, match="the variable OPERATOR_KEY is not a Solana keypair"):
        load_keys(chosen.service)
    monkeypatch.delenv("OPERATOR_KEY")
    with pytest.raises(SettingsError, match="OPERATOR_KEY is not set"):
        load_keys(chosen.service)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({}, "in one place"),
        ({"env": "A", "file": "b"}, "in one place"),
        ({"command": ["sign"]}, "`public_key` goes with"),
        ({"env": "A", "public_key": str(OPERATOR.pubkey())}, "`public_key` goes with"),
    ],
)
def test_a_key_has_one_place(source: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        settings(key("mint"), operator_keypair=None, operator=source)


def test_a_key_is_named_once() -> None:
    with pytest.raises(SettingsError, match="both say where"):
        settings(key("mint"), operator={"env": "A"})
    with pytest.raises(SettingsError, match="`operator_keypair` is missing"):
        settings(key("mint"), operator_keypair=None)
