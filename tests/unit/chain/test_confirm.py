"""Waiting ends with what is known, and never with a guess."""

from dataclasses import dataclass, field

import pytest

from retainer.chain.base import Commitment, SignatureStatus, program_error
from retainer.chain.confirm import ConfirmationOutcome, SystemTimer, confirm
from retainer.chain.errors import ChainUnavailableError
from retainer.chain.fake import FakeChain

LANDED_IN_TIME = SignatureStatus(100, Commitment.CONFIRMED, None)


@dataclass
class Scripted(FakeChain):
    """Answers statuses by script, the last one for ever; None stands for no status, an exception for no answer."""

    script: list[SignatureStatus | ChainUnavailableError | None] = field(default_factory=list)
    finalized_height: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    async def signature_status(self, signature: str, *, search_history: bool = True) -> SignatureStatus | None:
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, ChainUnavailableError):
            raise answer
        return answer

    async def block_height(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        assert commitment is Commitment.FINALIZED, "an unfinalized height proves no expiry"
        return self.finalized_height


async def outcome_of(chain: Scripted, *, last_valid: int | None = None, seconds: float = 60) -> ConfirmationOutcome:
    return await confirm(chain, "signature", last_valid_block_height=last_valid, clock=chain, timeout=seconds)


async def test_it_waits_until_the_transaction_is_settled_enough() -> None:
    processed = SignatureStatus(100, Commitment.PROCESSED, None)

    assert await outcome_of(Scripted([None, processed, LANDED_IN_TIME])) is ConfirmationOutcome.LANDED


async def test_a_failure_at_a_lower_level_is_not_reported_yet() -> None:
    """On another fork it may still succeed."""
    failed = SignatureStatus(100, Commitment.PROCESSED, '"AccountInUse"')

    assert await outcome_of(Scripted([failed, LANDED_IN_TIME])) is ConfirmationOutcome.LANDED


async def test_a_failed_transaction_is_failed() -> None:
    failed = SignatureStatus(100, Commitment.FINALIZED, '"AccountInUse"')

    assert await outcome_of(Scripted([failed])) is ConfirmationOutcome.FAILED


async def test_it_expires_only_when_the_finalized_chain_is_past_its_height() -> None:
    at_the_last = Scripted([None], finalized_height=150)
    past_it = Scripted([None], finalized_height=151)

    assert await outcome_of(at_the_last, last_valid=150, seconds=5) is ConfirmationOutcome.UNKNOWN
    assert await outcome_of(past_it, last_valid=150, seconds=5) is ConfirmationOutcome.EXPIRED


async def test_a_transaction_found_after_its_height_has_landed() -> None:
    """F14: the signature's history outranks the clock."""
    assert await outcome_of(Scripted([LANDED_IN_TIME], finalized_height=999), last_valid=150) is (
        ConfirmationOutcome.LANDED
    )


async def test_a_silent_node_makes_it_unknown() -> None:
    silent = Scripted([ChainUnavailableError("no answer")], finalized_height=999)

    assert await outcome_of(silent, last_valid=150, seconds=5) is ConfirmationOutcome.UNKNOWN
    assert silent.monotonic() == pytest.approx(5)


async def test_a_node_may_be_silent_for_a_while() -> None:
    chain = Scripted([ChainUnavailableError("no answer"), None, LANDED_IN_TIME])

    assert await outcome_of(chain) is ConfirmationOutcome.LANDED


async def test_the_machines_own_time_passes() -> None:
    timer = SystemTimer()
    before = timer.monotonic()

    await timer.sleep(0.01)

    assert timer.monotonic() >= before + 0.01


@pytest.mark.parametrize(
    ("error", "number"),
    [
        ('{"InstructionError":[2,{"Custom":6101}]}', 6101),
        ('{"InstructionError":[2,"MissingRequiredSignature"]}', None),
        ('"BlockhashNotFound"', None),
        ("node is unwell", None),
        ('{"InstructionError":[2,{"Custom":"6101"}]}', None),
        ("[]", None),
        (None, None),
    ],
)
def test_a_programs_number_is_read_out_of_an_error(error: str | None, number: int | None) -> None:
    assert program_error(error) == number
