"""C44: data that is short, long, unknown or wrong in any one byte never reaches funds in a way nobody meant."""

from collections.abc import Iterator
from dataclasses import asdict

import pytest

from retainer.protocol.errors import LayoutError
from retainer.protocol.instruction_data import decode_instruction
from tests.program.harness.calls import Call
from tests.program.harness.cast import Run
from tests.program.harness.errors import Runtime
from tests.program.harness.judge import accepted, each_refused
from tests.program.harness.marks import row
from tests.program.harness.stage import Stage
from tests.program.test_substitution import READY, every_instruction

TAGS = (1, 3, 5, 16, 17, 18, 19)
FREE = {
    "open": {"grace_period", "deposit"},
    "open_with_terms": {"grace_period", "price_per_unit", "expires_at", "sla_hash", "batch", "deposit"},
    "top_up": {"amount"},
    "settle": {"charged_units", "amount"},
    "close": {"charged_units", "usage_root", "batch", "amount"},
    "request_close": set[str](),
    "withdraw": set[str](),
}
"""Arguments that the signer of an instruction may set to more than one value, all of them as good as the honest one."""


def flips(data: bytes) -> Iterator[bytes]:
    """The data with one byte changed: every bit of it alone, and all of them."""
    for at in range(len(data)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            yield data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


@row("C44", "instruction data cut short anywhere, or with trailing bytes", twin="the exact length")
@every_instruction
def test_data_of_another_length_is_refused(name: str, run: Run) -> None:
    stage = Stage(run)
    honest = READY[name](stage)
    data = honest.data
    wrong = [data[:length] for length in range(1, len(data))]
    wrong += [data + tail for tail in (b"\x00", b"\x01", bytes(8), data)]
    attacks = [(honest.with_data(bad), Runtime.INVALID_INSTRUCTION_DATA) for bad in wrong]
    each_refused(stage.world, attacks, twin=honest)


@row("C44", "no data, or an instruction that does not exist", twin="one that does")
@every_instruction
def test_unknown_instructions_are_refused(name: str, run: Run) -> None:
    stage = Stage(run)
    honest = READY[name](stage)
    wrong = [b""] + [bytes([tag]) + honest.data[1:] for tag in range(256) if tag not in TAGS]
    attacks = [(honest.with_data(bad), Runtime.INVALID_INSTRUCTION_DATA) for bad in wrong]
    each_refused(stage.world, attacks, twin=honest)


@row("C44", "one instruction's accounts with another's data", twin="its own data")
@every_instruction
def test_another_instructions_data_does_not_fit_these_accounts(name: str, run: Run) -> None:
    stage = Stage(run)
    honest = READY[name](stage)
    others = (stage.top_up(), stage.request_close(), stage.open())
    landed = {other.name for other in others if other.name != name and lands(stage, honest.with_data(other.data))}
    # The accounts of a top-up begin like those of a close request, and the payer signs both.
    assert landed == ({"request_close"} if name == "top_up" else set())
    accepted(stage.world, honest)


@row("C44", "every byte of the data changed, bit by bit", twin="as the signer meant it")
@every_instruction
def test_a_changed_byte_lands_only_as_another_honest_choice(name: str, run: Run) -> None:
    stage = Stage(run)
    honest = READY[name](stage)
    meant = asdict(decode_instruction(honest.data))
    surprises = []
    for data in flips(honest.data):
        if not lands(stage, honest.with_data(data)):
            continue
        try:
            got = asdict(decode_instruction(data))
        except LayoutError:
            surprises.append(data.hex())
            continue
        changed = {field for field, value in got.items() if value != meant.get(field)}
        if data[0] != honest.data[0] or not changed <= FREE[name]:
            surprises.append(f"{data.hex()} changes {changed}")
    assert not surprises
    accepted(stage.world, honest)


def lands(stage: Stage, call: Call) -> bool:
    return stage.world.simulate(call.instructions, call.signers).landed


@pytest.mark.parametrize("length", [0, 1, 7, 100, 900])
def test_noise_of_any_length_is_refused(length: int) -> None:
    stage = Stage(Run()).opened()
    honest = stage.close()
    noise = bytes((73 * at + 41) % 256 for at in range(length))
    each_refused(stage.world, [(honest.with_data(noise), Runtime.INVALID_INSTRUCTION_DATA)], twin=honest)
