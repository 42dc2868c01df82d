import base64
import hashlib
from dataclasses import fields

import pytest
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import PROGRAM_ID, SYSTEM_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.events import (
    CloseRequested,
    Event,
    SessionClosed,
    SessionOpened,
    SessionReclaimed,
    SessionSettled,
    SessionToppedUp,
    SessionWithdrawn,
    decode_event,
    events_from_logs,
)
from tests.unit.protocol.examples import MINT, OPERATOR, PAYEE, PAYER, SESSION, SIGNER, STRANGER

ROOT = bytes(range(32))
EVENTS: list[Event] = [
    SessionOpened(
        SESSION,
        PAYER.pubkey(),
        PAYEE.pubkey(),
        OPERATOR.pubkey(),
        SIGNER.pubkey(),
        MINT,
        BaseUnits(1_000_000),
        BaseUnits(8000),
        1_900_000_000,
        1_800_000_000,
        ROOT,
    ),
    SessionToppedUp(SESSION, BaseUnits(5), BaseUnits(1_000_005)),
    SessionSettled(SESSION, BaseUnits(80_000), BaseUnits(160_000), 20),
    SessionClosed(
        SESSION,
        PAYER.pubkey(),
        PAYEE.pubkey(),
        MINT,
        BaseUnits(1_000_000),
        BaseUnits(240_000),
        BaseUnits(760_000),
        30,
        1_800_000_000,
        ROOT,
    ),
    CloseRequested(SESSION, 1_800_000_100, 1_800_001_000),
    SessionWithdrawn(SESSION, BaseUnits(80_000), BaseUnits(920_000)),
    SessionReclaimed(SESSION, PAYER.pubkey(), 3_340_800),
]


def packed(event: Event) -> bytes:
    """The program's own way, written again: tag, then fields in order, little-endian and without gaps."""
    parts = [hashlib.sha256(f"event:{type(event).__name__}".encode()).digest()[:8]]
    for field in fields(event):
        value = getattr(event, field.name)
        parts.append(value.to_bytes(8, "little") if isinstance(value, int) else bytes(value))
    return b"".join(parts)


def data(event: Event) -> str:
    return "Program data: " + base64.b64encode(packed(event)).decode()


def frame(program: Pubkey, depth: int, *inside: str, end: str = "success") -> list[str]:
    return [
        f"Program {program} invoke [{depth}]",
        *inside,
        f"Program {program} consumed 100 of 200000 compute units",
        f"Program {program} {end}",
    ]


ONE, TWO = EVENTS[1], EVENTS[2]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_are_read_from_their_bytes(event: Event) -> None:
    assert decode_event(packed(event)) == event
    assert decode_event(packed(event)[:-1]) is None
    assert decode_event(packed(event) + b"\0") is None


@pytest.mark.parametrize("other", [b"", b"short", bytes(8), bytes(48)])
def test_other_bytes_are_no_event(other: bytes) -> None:
    assert decode_event(other) is None


def test_events_are_found_in_order_around_inner_calls() -> None:
    token = frame(TOKEN_PROGRAM_ID, 2, "Program log: Instruction: TransferChecked")
    logs = frame(SYSTEM_PROGRAM_ID, 1) + frame(PROGRAM_ID, 1, data(ONE), *token, "Program log: done", data(TWO))
    assert events_from_logs(logs, PROGRAM_ID) == [ONE, TWO]


def test_our_program_called_by_another_is_heard() -> None:
    assert events_from_logs(frame(STRANGER.pubkey(), 1, *frame(PROGRAM_ID, 2, data(ONE)))) == [ONE]


@pytest.mark.parametrize(
    "logs",
    [
        frame(STRANGER.pubkey(), 1, data(ONE)),
        frame(STRANGER.pubkey(), 1, *frame(PROGRAM_ID, 2), data(ONE)),
        frame(PROGRAM_ID, 1, *frame(STRANGER.pubkey(), 2, data(ONE))),
        frame(STRANGER.pubkey(), 1, f"Program log: Program {PROGRAM_ID} invoke [2]", data(ONE)),
        frame(STRANGER.pubkey(), 1, f"Program log: \nProgram {PROGRAM_ID} invoke [2]\n{data(ONE)}"),
        frame(PROGRAM_ID, 1, f"Program log: {data(ONE)}"),
        [*frame(PROGRAM_ID, 1), data(ONE)],
        [data(ONE)],
        frame(PROGRAM_ID, 1, *frame(STRANGER.pubkey(), 2, f"Program {STRANGER.pubkey()} success x", data(ONE))),
        frame(PROGRAM_ID, 1, "Program data: !", "Program data: ", "Program data: YQ=="),
    ],
)
@pytest.mark.row(
    "F05",
    attack="another program logs the same bytes, or text that looks like the runtime's",
    twin="our program's log is read",
)
def test_what_another_program_logs_is_not_ours(logs: list[str]) -> None:
    """F05: any program may log the same bytes, or text that looks like the runtime's."""
    assert events_from_logs(logs, PROGRAM_ID) == []


def test_a_failed_transaction_did_nothing() -> None:
    """F03."""
    failed = frame(PROGRAM_ID, 1, data(ONE)) + frame(STRANGER.pubkey(), 1, end="failed: custom program error: 0x1")
    assert events_from_logs(failed) == []


def test_what_came_before_the_cut_is_kept() -> None:
    whole = frame(PROGRAM_ID, 1, data(ONE), *frame(TOKEN_PROGRAM_ID, 2), data(TWO))
    assert events_from_logs([*whole[:5], "Log truncated", data(TWO)]) == [ONE]
    for length in range(len(whole)):
        assert events_from_logs(whole[:length]) in ([], [ONE], [ONE, TWO])


def test_the_stated_depth_ends_frames_whose_end_is_missing() -> None:
    logs = [f"Program {PROGRAM_ID} invoke [1]", f"Program {STRANGER.pubkey()} invoke [1]", data(ONE)]
    assert events_from_logs(logs) == []
    assert events_from_logs([*logs[:2], f"Program {STRANGER.pubkey()} success", data(ONE)]) == []


def test_an_end_without_its_beginning_ends_nothing() -> None:
    logs = [f"Program {PROGRAM_ID} invoke [1]", f"Program {STRANGER.pubkey()} success", data(ONE)]
    assert events_from_logs(logs) == [ONE]
