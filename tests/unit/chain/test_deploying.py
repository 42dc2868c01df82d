"""Deploying by the real loader, interrupted and taken up again."""

from collections.abc import Callable

import pytest
from solders.keypair import Keypair

from retainer.chain.deploying import Deployment
from retainer.chain.errors import ForeignAccountError, SendOutcomeUnknownError
from retainer.chain.fake import FakeChain, Fate
from retainer.chain.programs import deployed_program
from retainer.release import program_bytes

CODE = program_bytes()


def deployment(chain: FakeChain, code: bytes = CODE) -> Deployment:
    made = Deployment(chain, Keypair(), Keypair(), code, timer=chain)
    chain.fund(made.payer.pubkey())
    return made


def after(pieces: int, happens: Callable[[], None]) -> Callable[[int, int], None]:
    """Lets something happen once, when so many pieces are written."""
    due = iter([happens])

    def said(written: int, _every: int) -> None:
        if written == pieces:
            next(due, lambda: None)()

    return said


async def test_what_is_deployed_is_the_bytes_and_the_payer_may_upgrade_it() -> None:
    chain = FakeChain()
    made = deployment(chain)
    told: list[tuple[int, int]] = []
    before, needed = await balance(made), await made.lamports_needed()
    assert await made.run(lambda done, every: told.append((done, every))) is not None
    there = await deployed_program(chain, made.program.pubkey())
    assert there is not None
    assert (there.runs(CODE), there.upgrade_authority) == (True, made.payer.pubkey())
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] > 100
    # What was announced is what it took, but for a signature or two.
    assert 0 <= needed - (before - await balance(made)) <= 10_000
    assert await made.run() is None


async def test_an_interrupted_deployment_goes_on_where_it_stopped() -> None:
    chain = FakeChain()
    made = deployment(chain)
    whole = await made.lamports_needed()
    with pytest.raises(SendOutcomeUnknownError):
        await made.run(after(32, lambda: chain.next_send(Fate.LOST_UNANSWERED)))
    assert await made.lamports_needed() < whole // 200
    told: list[int] = []
    await made.run(lambda done, _every: told.append(done))
    assert told[0] == 32
    there = await deployed_program(chain, made.program.pubkey())
    assert there is not None
    assert there.runs(CODE)


async def test_a_piece_that_its_node_dropped_is_written_again() -> None:
    chain = FakeChain()
    made = deployment(chain)
    await made.run(after(32, lambda: chain.next_send(Fate.DROPPED, times=3)))
    there = await deployed_program(chain, made.program.pubkey())
    assert there is not None
    assert there.runs(CODE)


async def test_another_program_is_not_overwritten() -> None:
    chain = FakeChain()
    made = deployment(chain)
    await made.run()
    other = Deployment(chain, made.payer, made.program, CODE + b"\1", timer=chain)
    with pytest.raises(ForeignAccountError, match="take a new key"):
        await other.run()


async def balance(made: Deployment) -> int:
    info = await made.chain.account(made.payer.pubkey())
    assert info is not None
    return info.lamports
