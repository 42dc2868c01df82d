import importlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from solders.keypair import Keypair

from retainer_provider.keys import keypair_text
from retainer_provider.logs import REDACTED, configure_logging, redact, redact_by_default

AGENT = Keypair.from_seed(b"a" * 32)
SIGNATURE = str(AGENT.sign_message(b"x"))


@contextmanager
def json_logs() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    configure_logging("info", "json")
    try:
        yield
    finally:
        root.handlers = before
        root.setLevel(level)
        structlog.reset_defaults()


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "proof", "secret", "operator_keypair", "raw", "signature", "cookie", "password"],
)
def test_what_is_called_a_secret_is_not_written(name: str) -> None:
    assert redact(None, "info", {"event": "x", name: "anything"})[name] == REDACTED


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Payment {'A' * 64}",
        f"payment {'abc-_' * 8}",
        f"keypair {keypair_text(AGENT)}",
        f"signature {SIGNATURE} of the proof",
        json.dumps({"nested": SIGNATURE}),
    ],
)
@pytest.mark.row(
    "F27", attack="keys, proofs and Authorization headers on their way into a log", twin="everything else is written"
)
def test_what_looks_like_a_secret_is_not_written_wherever_it_stands(text: str) -> None:
    """F27."""
    for value in (text, [text], {"deep": text}, ValueError(text)):
        written = repr(redact(None, "info", {"event": "x", "detail": value})["detail"])
        assert REDACTED in written
        assert SIGNATURE not in written
        assert "AAAA" not in written


def test_bytes_are_counted_not_shown_and_plain_values_are_kept() -> None:
    event = redact(None, "info", {"event": "x", "data": b"abc", "status": 200, "ok": True, "none": None})
    assert event == {"event": "x", "data": "<3 bytes>", "status": 200, "ok": True, "none": None}


def test_a_transactions_signature_is_public_and_kept() -> None:
    assert redact(None, "info", {"event": "settled", "transaction": SIGNATURE})["transaction"] == SIGNATURE


def test_both_structlog_and_the_standard_library_go_through_the_redaction(capsys: pytest.CaptureFixture[str]) -> None:
    with json_logs():
        structlog.get_logger("service").info("opened", proof=SIGNATURE, session="S")
        logging.getLogger("uvicorn.error").warning("bad header Payment %s", "A" * 64)
        try:
            raise ValueError(SIGNATURE)
        except ValueError:
            structlog.get_logger("service").exception("failed")
    ours, theirs, failed = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["proof"], ours["session"], ours["level"]) == ("opened", REDACTED, "S", "info")
    assert REDACTED in theirs["event"]
    assert "Traceback" in failed["exception"]
    assert SIGNATURE not in json.dumps([ours, theirs, failed])


@pytest.mark.row("F27", attack="a traceback that shows local variables", twin="the traceback without them")
def test_a_host_program_that_configures_nothing_gets_no_local_variables(caplog: pytest.LogCaptureFixture) -> None:
    """F27: structlog's own default prints them with every traceback, credentials included."""
    structlog.reset_defaults()
    try:
        redact_by_default()
        proof = SIGNATURE
        try:
            raise ValueError(f"bad {proof}")
        except ValueError:
            structlog.get_logger("service").exception("failed", status=500)
    finally:
        structlog.reset_defaults()
    [record] = caplog.records
    assert "Traceback" in record.getMessage()
    assert SIGNATURE not in caplog.text
    assert "status=500" in record.getMessage()


def test_a_host_program_that_has_configured_structlog_is_left_alone() -> None:
    structlog.configure(processors=[])
    try:
        redact_by_default()
        assert structlog.get_config()["processors"] == []
    finally:
        structlog.reset_defaults()


def test_no_http_library_writes_the_urls_it_asks() -> None:
    """An RPC URL may carry an API key; which library solana-py asks with has changed before."""
    importlib.import_module("solana.rpc.async_api")
    with json_logs():
        chatty = [
            name
            for name in logging.root.manager.loggerDict
            if name.startswith("http") and logging.getLogger(name).isEnabledFor(logging.INFO)
        ]
    assert chatty == []
