"""The kernel writes by hand what the IDL says by machine: bytes, accounts, discriminators and errors agree."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.events import decode_event
from retainer.protocol.instruction_data import (
    CLOSE,
    OPEN,
    OPEN_WITH_TERMS,
    REQUEST_CLOSE,
    SETTLE,
    TOP_UP,
    WITHDRAW,
    decode_instruction,
)
from retainer.protocol.instructions import ACCOUNT_NAMES, account_metas, open_session, open_with_terms, settle
from retainer.protocol.layouts import SESSION_DISCRIMINATOR, SESSION_LEN, SESSION_VERSION, decode_session
from retainer.protocol.pda import derive_ata
from retainer.protocol.program_errors import PROGRAM_ERRORS
from tests.unit.protocol.examples import ACCOUNT, MINT, OPERATOR, PAYEE, SESSION
from tests.unit.protocol.examples import OPEN as OPENING
from tests.unit.protocol.examples import OPEN_WITH_TERMS as OPENING_WITH_TERMS

ARTIFACTS = Path(__file__).parents[2] / "programs" / "session_escrow" / "artifacts"
IDL: dict[str, Any] = json.loads((ARTIFACTS / "session_escrow.json").read_text(encoding="utf-8"))
TYPES = {kind["name"]: kind["type"]["fields"] for kind in IDL["types"]}
INSTRUCTIONS = {instruction["name"]: instruction for instruction in IDL["instructions"]}
SIZES = {"u8": 1, "u32": 4, "u64": 8, "i64": 8, "pubkey": 32}


def filled(
    members: Sequence[Mapping[str, Any]], fixed: Mapping[str, int]
) -> tuple[bytes, dict[str, int | bytes | Pubkey]]:
    """Bytes that give every member a value of its own, and those values by name; ``fixed`` where they are not free."""
    data, values = b"", dict[str, int | bytes | Pubkey]()
    for number, member in enumerate(members, start=1):
        name, kind = member["name"], member["type"]
        size = SIZES[kind] if isinstance(kind, str) else int(kind["array"][1])
        if name in fixed:
            raw = fixed[name].to_bytes(size, "little")
        elif kind == "pubkey" or size == 32:
            raw = bytes([number]) * size
        else:
            # The least byte differs for each member and the greatest is set too, below the sign.
            raw = bytes([number]) + bytes(max(size - 2, 0)) + (b"\x11" if size > 1 else b"")
        data += raw
        if kind == "pubkey":
            values[name] = Pubkey.from_bytes(raw)
        else:
            values[name] = int.from_bytes(raw, "little") if isinstance(kind, str) else raw
    return data, values


def assert_read(read: object, values: Mapping[str, object], unread: set[str]) -> None:
    for name, value in values.items():
        if name not in unread:
            assert getattr(read, name) == value, name


def test_the_program_is_the_one_that_is_pinned() -> None:
    assert IDL["address"] == str(PROGRAM_ID)


def test_the_session_account_has_the_idls_bytes() -> None:
    assert [account["name"] for account in IDL["accounts"]] == ["Session"]
    assert bytes(IDL["accounts"][0]["discriminator"]) == SESSION_DISCRIMINATOR
    fixed = {"version": SESSION_VERSION, "status": 2, "escrow_kind": 1, "reserved_a": 0, "reserved_b": 0}
    data, values = filled(TYPES["Session"], fixed)
    assert len(SESSION_DISCRIMINATOR + data) == SESSION_LEN
    assert_read(decode_session(SESSION_DISCRIMINATOR + data), values, {"reserved_a", "reserved_b"})


@pytest.mark.parametrize("event", IDL["events"], ids=lambda event: str(event["name"]))
def test_events_have_the_idls_bytes(event: dict[str, Any]) -> None:
    data, values = filled(TYPES[event["name"]], {})
    read = decode_event(bytes(event["discriminator"]) + data)
    assert type(read).__name__ == event["name"]
    assert_read(read, values, set())


def test_every_event_and_instruction_is_known() -> None:
    assert set(TYPES) == {event["name"] for event in IDL["events"]} | {"Session"}
    assert set(INSTRUCTIONS) == set(ACCOUNT_NAMES)


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_instruction_data_has_the_idls_bytes(name: str) -> None:
    numbers = {
        "open": OPEN,
        "top_up": TOP_UP,
        "request_close": REQUEST_CLOSE,
        "open_with_terms": OPEN_WITH_TERMS,
        "settle": SETTLE,
        "close": CLOSE,
        "withdraw": WITHDRAW,
    }
    instruction = INSTRUCTIONS[name]
    assert instruction["discriminator"] == [numbers[name]]
    data, values = filled(instruction["args"], {"count": 0, "flags": 1})
    read = decode_instruction(bytes(instruction["discriminator"]) + data)
    assert_read(read, values, {"count", "flags"})
    assert getattr(read, "batch", True) is True


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_accounts_stand_in_the_idls_order_with_its_rights(name: str) -> None:
    accounts = INSTRUCTIONS[name]["accounts"]
    assert tuple(account["name"] for account in accounts) == ACCOUNT_NAMES[name]
    keys = tuple(Pubkey.from_bytes(bytes([number]) * 32) for number in range(1, len(accounts) + 1))
    assert [(meta.pubkey, meta.is_signer, meta.is_writable) for meta in account_metas(name, keys)] == [
        (key, account.get("signer", False), account.get("writable", False))
        for key, account in zip(keys, accounts, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("open", lambda: open_session(OPENING)),
        ("open_with_terms", lambda: open_with_terms(OPENING_WITH_TERMS)),
        (
            "settle",
            lambda: settle(
                submitter=OPERATOR.pubkey(),
                session=SESSION,
                account=ACCOUNT,
                payee_token=derive_ata(PAYEE.pubkey(), MINT),
                amount=0,
                charged_units=0,
            ),
        ),
    ],
)
def test_accounts_that_the_idl_fixes_are_those_that_are_built(name: str, build: Callable[[], Any]) -> None:
    fixed = {account["name"]: account["address"] for account in INSTRUCTIONS[name]["accounts"] if "address" in account}
    built = dict(zip(ACCOUNT_NAMES[name], build().accounts, strict=True))
    assert fixed
    assert {slot: str(built[slot].pubkey) for slot in fixed} == fixed


def test_errors_are_the_idls() -> None:
    assert {code: (error.name, error.message) for code, error in PROGRAM_ERRORS.items()} == {
        error["code"]: (error["name"], error["msg"]) for error in IDL["errors"]
    }
