import json
from pathlib import Path

import pytest
from solders.keypair import Keypair

from retainer_provider.keys import keypair_text, load_keypair, load_secrets, write_private
from retainer_provider.settings import ServiceSettings, SettingsError
from tests.books import key
from tests.shop import settings

STRONG = "c0ffee0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
OLDER = "0123456789abcdefc0ffee0123456789abcdef0123456789abcdef0123456789"


def service(**changes: object) -> ServiceSettings:
    return settings(key("mint"), None, **{"secret": None, **changes}).service


def test_a_keypair_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    keypair = Keypair()
    write_private(tmp_path / "operator.json", keypair_text(keypair))
    assert load_keypair(tmp_path / "operator.json") == keypair


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    write_private(tmp_path / "operator.json", "first")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "operator.json", "second")
    assert (tmp_path / "operator.json").read_text() == "first"


@pytest.mark.row("F26", attack="a key file that others can read", twin="one for its owner alone is read")
def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """F26."""
    write_private(tmp_path / "operator.json", keypair_text(Keypair()))
    (tmp_path / "operator.json").chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_keypair(tmp_path / "operator.json")


@pytest.mark.row("F26", attack="a keypair of two halves", twin="its own halves are read")
def test_a_keypair_whose_halves_do_not_belong_together_is_refused(tmp_path: Path) -> None:
    """F26."""
    raw = list(bytes(Keypair()))
    raw[40] ^= 1
    write_private(tmp_path / "operator.json", json.dumps(raw))
    with pytest.raises(SettingsError, match="whose halves belong together"):
        load_keypair(tmp_path / "operator.json")


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '["a"]', json.dumps([300] * 64)])
def test_a_file_that_is_no_keypair_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    write_private(tmp_path / "operator.json", text)
    with pytest.raises(SettingsError, match="is not a Solana keypair"):
        load_keypair(tmp_path / "operator.json")


@pytest.mark.row("F26", attack="a key file that is missing", twin="named with what to do")
def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read operator keypair .*No such file"):
        load_keypair(tmp_path / "operator.json")


def test_the_secret_file_holds_the_current_secret_and_then_those_rotated_out(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", f"{STRONG}\n\n{OLDER}\n")
    assert load_secrets(service(secret_file=str(tmp_path / "secret"))) == [STRONG.encode(), OLDER.encode()]


def test_the_secret_of_the_settings_goes_before_the_file(tmp_path: Path) -> None:
    assert load_secrets(service(secret=STRONG, secret_file=str(tmp_path / "absent"))) == [STRONG.encode()]


@pytest.mark.parametrize(("secret", "sentence"), [("", "holds no secret"), ("short", "weak"), ("a" * 64, "weak")])
@pytest.mark.row("F28", attack="a secret that is short or of few symbols", twin="a strong one is read")
def test_a_weak_secret_is_refused(secret: str, sentence: str) -> None:
    """F28: with it, anybody could issue challenges."""
    with pytest.raises(SettingsError, match=sentence):
        load_secrets(service(secret=secret))


def test_no_secret_at_all_is_refused() -> None:
    with pytest.raises(SettingsError, match="openssl rand -hex 32"):
        load_secrets(service())
