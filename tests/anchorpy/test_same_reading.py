"""anchorpy through the IDL and our own layouts read the same from a real chain."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from anchorpy import Program
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.anchor import anchor_program, fetch_session, read_events
from retainer.chain.errors import ForeignAccountError
from retainer.chain.rpc import RpcChain
from retainer.chain.sessions import session_account
from retainer.chain.submit import submit
from retainer.protocol import events
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.instructions import (
    OpenWithTermsParams,
    close,
    open_with_terms,
    request_close,
    settle,
    top_up,
)
from retainer.protocol.pda import derive_ata, derive_session
from retainer.protocol.session import SessionAccount
from tests.localnet import LocalValidator


@dataclass(frozen=True)
class Readers:
    """The same chain, read both ways."""

    chain: RpcChain
    program: Program

    async def session(self, address: Pubkey) -> SessionAccount | None:
        ours = await session_account(self.chain, address)
        assert await fetch_session(self.program, address) == ours
        return ours

    async def event(self, instruction: Instruction, signer: Keypair) -> events.Event:
        landed = await self.chain.transaction(await submit(self.chain, [instruction], [signer]))
        assert landed is not None
        ours = events.events_from_logs(landed.logs)
        assert read_events(self.program, landed.logs) == ours
        (event,) = ours
        return event


@pytest_asyncio.fixture
async def readers(localnet: LocalValidator, chain: RpcChain) -> AsyncIterator[Readers]:
    program = anchor_program(localnet.rpc_url)
    yield Readers(chain, program)
    await program.close()


async def test_a_sessions_life_reads_the_same_both_ways(localnet: LocalValidator, readers: Readers) -> None:
    payer, operator, payee = await localnet.person(), await localnet.person(), Keypair().pubkey()
    mint = await localnet.mint(payer.pubkey(), payee, amount=2_000_000)
    params = OpenWithTermsParams(
        payer=payer.pubkey(),
        rent_payer=payer.pubkey(),
        payee=payee,
        operator=operator.pubkey(),
        mint=mint,
        authorized_signer=operator.pubkey(),
        salt=2**64 - 1,
        deposit=1_000_000,
        grace_period=900,
        open_slot=await readers.chain.slot(),
        payer_token=derive_ata(payer.pubkey(), mint),
        token_program=TOKEN_PROGRAM_ID,
        price_per_unit=8_000,
        expires_at=await readers.chain.block_time() + 86_400,
        sla_hash=bytes(range(32)),
        batch=True,
    )
    address, _ = derive_session(params.seeds)

    assert isinstance(await readers.event(open_with_terms(params), payer), events.SessionOpened)
    opened = await readers.session(address)
    assert opened is not None
    assert opened.sla_hash == bytes(range(32))
    more = top_up(
        payer=payer.pubkey(),
        session=address,
        payer_token=params.payer_token,
        escrow=opened.escrow,
        mint=mint,
        token_program=TOKEN_PROGRAM_ID,
        amount=500_000,
    )
    assert isinstance(await readers.event(more, payer), events.SessionToppedUp)
    part = settle(
        submitter=operator.pubkey(),
        session=address,
        account=opened,
        payee_token=derive_ata(payee, mint),
        token_program=TOKEN_PROGRAM_ID,
        amount=80_000,
        charged_units=10,
    )
    assert isinstance(await readers.event(part, operator), events.SessionSettled)
    end = request_close(payer=payer.pubkey(), session=address)
    assert isinstance(await readers.event(end, payer), events.CloseRequested)
    closing = await readers.session(address)
    assert closing is not None
    assert (closing.deposit, closing.settled) == (1_500_000, 80_000)
    last = close(
        submitter=operator.pubkey(),
        session=address,
        account=closing,
        payee_token=derive_ata(payee, mint),
        payer_token=params.payer_token,
        token_program=TOKEN_PROGRAM_ID,
        amount=240_000,
        charged_units=30,
        usage_root=bytes([7] * 32),
        batch=True,
    )
    closed = await readers.event(last, operator)
    assert isinstance(closed, events.SessionClosed)
    assert (closed.settled, closed.refunded) == (240_000, 1_260_000)
    assert await readers.session(address) is None


async def test_an_account_that_is_no_session_is_refused(localnet: LocalValidator, readers: Readers) -> None:
    mint = await localnet.mint()

    with pytest.raises(ForeignAccountError, match="no session"):
        await fetch_session(readers.program, mint)
