"""The command line where no validator is needed: init, the books, and how failures are told."""

import asyncio
import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.chosen import check_ledger, open_ledger
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.catalog import load_offers
from retainer_provider.cli import books, main
from retainer_provider.keys import load_keypair, load_secrets
from retainer_provider.settings import load_settings
from retainer_provider.settling.held_recovery import Deposit, Held, recover_held
from retainer_provider.settling.recovery import Proofs, recover
from retainer_provider.settling.settler import SettlementOutcome
from tests.books import NOW, account_of, key, new_session, open_session

MINT = str(key("mint"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def init(folder: Path, *more: str) -> Result:
    return run("init", str(folder), "--realm", "shop.test", "--mint", MINT, *more)


def test_init_writes_settings_and_keys_that_can_be_loaded(tmp_path: Path) -> None:
    made = init(tmp_path, "--price", "0.5", "--network", "devnet")
    assert made.exit_code == 0, made.output
    settings = load_settings(tmp_path / "retainer.toml", {})
    assert settings.service.rpc_url == "https://api.devnet.solana.com"
    offer = settings.offers["standard"]
    assert (offer.price, offer.minimum_deposit, offer.suggested_deposit) == ("0.5", "5.0", "62.5")
    assert str(load_keypair(tmp_path / "operator.json").pubkey()) in made.output
    assert len(load_secrets(settings.service)) == 1
    for name in ("operator.json", "challenge.secret"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_init_asks_five_questions_where_no_flags_answer_them(tmp_path: Path) -> None:
    answers = f"devnet\nshop.test\n{MINT}\n0.02\n\n"
    made = CliRunner().invoke(main, ("init", str(tmp_path)), input=answers)
    assert made.exit_code == 0, made.output
    service = load_settings(tmp_path / "retainer.toml", {}).service
    assert (str(service.network), service.realm, service.upstream) == ("devnet", "shop.test", "http://127.0.0.1:9000")
    one_flag = CliRunner().invoke(main, ("init", str(tmp_path / "b"), "--mint", MINT), input="\nshop.test\n\n\n")
    assert one_flag.exit_code == 0, one_flag.output
    silent = run("init", str(tmp_path / "c"))
    assert (silent.exit_code, "give --realm and --mint" in silent.output) == (2, True)
    wrong = init(tmp_path / "d", "--price", "1.23456789")
    assert (wrong.exit_code, "is no amount of the token" in wrong.output) == (3, True)


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    init(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = init(tmp_path)
    assert (again.exit_code, "is there already" in again.output) == (3, True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("option", [("--realm", "example.com"), ("--mint", "nonsense")])
def test_init_leaves_no_settings_that_could_not_be_served(tmp_path: Path, option: tuple[str, str]) -> None:
    made = init(tmp_path, *option)
    assert made.exit_code == 3
    assert not (tmp_path / "retainer.toml").exists()


async def ledger_with(folder: Path, sessions: int) -> list[str]:
    ledger = await SqliteLedger.open(folder / "retainer.sqlite")
    ids = [await open_session(ledger, salt) for salt in range(sessions)]
    await ledger.aclose()
    return ids


def test_the_books_are_shown_in_pages_and_as_json(tmp_path: Path) -> None:
    init(tmp_path)
    config = ("--config", str(tmp_path / "retainer.toml"))
    empty = run("sessions", *config)
    assert (empty.exit_code, "no ledger" in empty.output) == (5, True)
    ids = asyncio.run(ledger_with(tmp_path, 103))
    listed = run("sessions", *config)
    assert listed.output.splitlines()[-1] == "103 sessions"
    assert all(session_id in listed.output for session_id in ids)
    assert run("sessions", *config, "--state", "refunded").output == "0 sessions\n"
    shown = json.loads(run("show", *config, "--json", ids[0]).output)
    assert (shown["session"]["sessionId"], shown["settlement"]) == (ids[0], None)
    assert "not begun" in run("show", *config, ids[0]).output
    unknown = run("show", *config, "nothing")
    assert (unknown.exit_code, "sessions`" in unknown.output) == (6, True)


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "retainer.sqlite").write_bytes(b"not a database, but longer than one line of text" * 100)
    listed = run("sessions", "--config", str(tmp_path / "retainer.toml"))
    assert (listed.exit_code, "could not be read" in listed.output) == (5, True)


def test_settle_wants_to_know_which(tmp_path: Path) -> None:
    init(tmp_path)
    for arguments in ((), ("--all", "ID")):
        told = run("settle", "--config", str(tmp_path / "retainer.toml"), *arguments)
        assert (told.exit_code, "--all" in told.output) == (2, True)


def test_nothing_is_settled_where_there_are_no_books(tmp_path: Path) -> None:
    init(tmp_path)
    told = run("settle", "--config", str(tmp_path / "retainer.toml"), "--all")
    assert (told.exit_code, "there is no ledger" in told.output) == (5, True)
    assert not (tmp_path / "retainer.sqlite").exists()


def test_settle_says_what_to_do_about_each_outcome() -> None:
    assert set(SettlementOutcome) - books.OUTCOME_WORDS.keys() == {SettlementOutcome.SETTLED}


def test_recover_lists_both_kinds_of_sessions_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(tmp_path)
    settings = tmp_path / "retainer.toml"
    [offer] = load_offers(load_settings(settings, {}).offers).values()
    new = new_session()
    held = Held(
        session=Pubkey.from_string(new.session_id),
        offer=offer,
        payer=new.payer,
        deposits=(Deposit("1" * 88, BaseUnits(1_000_000), NOW),),
        refunded=BaseUnits(0),
        late=BaseUnits(0),
    )
    found = [recover(held.session, account_of(new), Proofs(), NOW), recover_held(held, [])]

    async def two(*_: object, **__: object) -> tuple[list[object], int, dict[object, object]]:
        return [*found], 1, {}

    # The package has the command under the module's name.
    monkeypatch.setattr(importlib.import_module("retainer_provider.cli.recover"), "_recover", two)
    told, listed = (run("recover", "--config", str(settings), *more) for more in ((), ("--json",)))
    assert told.exit_code == 0, told.output
    escrowed, custodial, total = told.output.splitlines()
    assert "refunded once its payer asks the chain to close it, or refunded now with --refund" in escrowed
    assert "proven 0.0 of 1.0: no receipt of yours was presented for it; it stays in your hands" in custodial
    assert total.startswith("2 sessions that the books do not know: 2 unproven; 1 proof is forged")
    assert [one["custody"] for one in json.loads(listed.output)["sessions"]] == ["escrow", "provider"]


def test_wrong_keys_are_told_with_their_own_status(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "operator.json").write_text(str([*bytes(Keypair())][:-1]))
    told = run("check", "--config", str(tmp_path / "retainer.toml"))
    assert (told.exit_code, "is not a Solana keypair" in told.output) == (3, True)


def test_check_tells_what_is_wrong_in_json_as_well(tmp_path: Path) -> None:
    """F26, F28: each thing that is not right, with the status of what it is about."""
    init(tmp_path)
    config = ("--config", str(tmp_path / "retainer.toml"), "--json")
    (tmp_path / "operator.json").chmod(0o644)
    (tmp_path / "challenge.secret").write_text("a" * 64)
    told = run("check", *config)
    findings = {one["name"]: (one["ok"], one["sentence"]) for one in json.loads(told.output)["findings"]}
    assert told.exit_code == 3
    assert list(findings) == ["operator key", "challenge secret", "ledger", "disk", "upstream", "settings"]
    assert (findings["operator key"][0], "chmod 600" in findings["operator key"][1]) == (False, True)
    assert "weak secret" in findings["challenge secret"][1]
    assert findings["disk"][0], "what can be looked at without keys is"
    assert json.loads(run("check", "--config", "nowhere.toml", "--json").output)["findings"][0]["ok"] is False


def test_check_names_a_question_that_no_page_can_ask(tmp_path: Path) -> None:
    init(tmp_path, "--rpc-url", "http://127.0.0.1:1")
    path = tmp_path / "retainer.toml"
    path.write_text(path.read_text() + '\n[panel.ask]\npath = "/elsewhere"\n')
    told = run("check", "--config", str(path), "--json")
    findings = {one["name"]: one for one in json.loads(told.output)["findings"]}
    assert told.exit_code != 0
    assert findings["settings"]["ok"], "what else the settings say is in order, and told apart"
    assert "[panel.ask]: `path` is '/elsewhere'" in findings["panel"]["sentence"]
    assert 'it needs `voucher_signer = "operator"`' in findings["panel"]["sentence"]


def test_a_backup_is_the_books_as_of_now_and_overwrites_nothing(tmp_path: Path) -> None:
    """Made while a service has the file open."""
    init(tmp_path)
    config = ("--config", str(tmp_path / "retainer.toml"))
    copy = tmp_path / "backup" / "ledger.sqlite"
    copy.parent.mkdir()
    none = run("backup", *config, str(copy))
    assert (none.exit_code, "there is no ledger" in none.output, list(copy.parent.iterdir())) == (5, True, [])

    async def back_up_beside_a_service() -> list[str]:
        ledger = await SqliteLedger.open(tmp_path / "retainer.sqlite")
        kept = [await open_session(ledger, salt) for salt in range(3)]
        made = await asyncio.to_thread(run, "backup", *config, str(copy))
        assert (made.exit_code, "checked" in made.output) == (0, True)
        await open_session(ledger, 3)
        await ledger.aclose()
        return kept

    kept = asyncio.run(back_up_beside_a_service())
    assert [*copy.parent.iterdir()] == [copy]
    assert copy.stat().st_mode & 0o077 == 0
    again = run("backup", *config, str(copy))
    assert (again.exit_code, "is there already" in again.output) == (5, True)

    async def restored() -> list[str]:
        ledger = await SqliteLedger.open(copy)
        found = [session.session_id for session in await ledger.sessions()]
        await ledger.aclose()
        return found

    assert asyncio.run(restored()) == kept


def test_a_damaged_ledger_leaves_no_backup(tmp_path: Path) -> None:
    init(tmp_path)
    config = ("--config", str(tmp_path / "retainer.toml"))
    path, copy = tmp_path / "retainer.sqlite", tmp_path / "copy.sqlite"
    asyncio.run(ledger_with(tmp_path, 50))
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 5 * 4096] = b"\xff" * (2 * 4096)
    path.write_bytes(content)
    refused = run("backup", *config, str(copy))
    assert (refused.exit_code, copy.exists()) == (5, False)
    assert not list(tmp_path.glob("*.partial"))


def test_books_that_processes_share_are_shown_as_well(tmp_path: Path, postgres_url: str) -> None:
    init(tmp_path)
    path = tmp_path / "retainer.toml"
    path.write_text(path.read_text() + f'\n[ledger]\nurl = "{postgres_url}"\n')

    async def ledger_with_one() -> str:
        ledger = await open_ledger(load_settings(path))
        session_id = await open_session(ledger)
        await ledger.aclose()
        return session_id

    session_id = asyncio.run(ledger_with_one())
    config = ("--config", str(path))
    assert run("sessions", *config).output.splitlines()[-1] == "1 session"
    shown = json.loads(run("show", *config, "--json", session_id).output)
    assert shown["session"]["sessionId"] == session_id
    refused = run("backup", *config, str(tmp_path / "copy"))
    assert (refused.exit_code, "pg_basebackup" in refused.output) == (3, True)


async def test_check_looks_at_either_ledger(tmp_path: Path, postgres_url: str) -> None:
    init(tmp_path)
    path = tmp_path / "retainer.toml"
    assert "made at the first start" in await check_ledger(load_settings(path))
    await ledger_with(tmp_path, 1)
    assert "is a sound ledger" in await check_ledger(load_settings(path))
    path.write_text(path.read_text() + f'\n[ledger]\nurl = "{postgres_url}"\n')
    assert "keeps what it acknowledges" in await check_ledger(load_settings(path))
    path.write_text(path.read_text().replace(postgres_url, "postgresql://127.0.0.1:1/books"))
    with pytest.raises(LedgerError, match="Check `url`"):
        await check_ledger(load_settings(path))


def test_every_command_shows_how_it_is_used() -> None:
    for name in main.commands:
        told = run(name, "--help")
        assert f"Examples:\n    retainer-provider {name}" in told.output, told.output


def test_an_interrupted_command_says_that_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(books, "_settle", interrupted)
    init(tmp_path)
    told = run("settle", "--config", str(tmp_path / "retainer.toml"), "--all")
    assert told.exit_code == 130
    assert "interrupted; nothing is lost, and the same command goes on from there" in told.output
