"""The fake chain is a chain: it runs what it is sent, in time of its own, and misbehaves only as told."""

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from retainer.chain.base import Chain, Commitment
from retainer.chain.confirm import ConfirmationOutcome, Timer, confirm
from retainer.chain.errors import ChainUnavailableError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.fake import FakeChain, Fate
from retainer.chain.sessions import session_account
from retainer.chain.submit import submit
from retainer.chain.testing import create_mint, mint_to, token_balance
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.instructions import OpenWithTermsParams, close, open_with_terms
from retainer.protocol.pda import derive_ata, derive_session
from retainer.protocol.sla import NO_TERMS_HASH

SOL = 1_000_000_000
SENDER = Keypair.from_seed(bytes([1] * 32))
RECEIVER = Keypair.from_seed(bytes([2] * 32)).pubkey()


def fake(*, finality_lag: int = 0, confirmation_lag: int = 0) -> FakeChain:
    chain = FakeChain(finality_lag=finality_lag, confirmation_lag=confirmation_lag)
    chain.fund(SENDER.pubkey(), 10 * SOL)
    return chain


async def payment(chain: FakeChain, lamports: int = SOL, blockhash: Hash | None = None) -> bytes:
    use = blockhash or (await chain.latest_blockhash()).blockhash
    instruction = transfer(TransferParams(from_pubkey=SENDER.pubkey(), to_pubkey=RECEIVER, lamports=lamports))
    return bytes(Transaction([SENDER], Message.new_with_blockhash([instruction], SENDER.pubkey(), use), use))


async def balance(chain: FakeChain, address: Pubkey = RECEIVER, commitment: Commitment = Commitment.PROCESSED) -> int:
    account = await chain.account(address, commitment=commitment)
    return 0 if account is None else account.lamports


def signature_in(raw: bytes) -> str:
    return str(Transaction.from_bytes(raw).signatures[0])


def test_it_is_a_chain_and_a_timer() -> None:
    """Held by the type checker: these assignments are the test."""
    chain: Chain = FakeChain()
    timer: Timer = FakeChain()

    assert timer.monotonic() == 0
    assert isinstance(chain, FakeChain)


async def test_a_transaction_takes_effect_and_is_found() -> None:
    chain = fake()
    raw = await payment(chain)

    signature = await chain.send(raw)

    assert signature == signature_in(raw)
    assert await balance(chain) == SOL
    assert await balance(chain, SENDER.pubkey()) == 9 * SOL - 5_000
    landed = await chain.transaction(signature, commitment=Commitment.FINALIZED)
    assert landed is not None
    assert (landed.raw, landed.error, landed.fee, landed.compute_units) == (raw, None, 5_000, 150)
    status = await chain.signature_status(signature)
    assert status is not None
    assert (status.commitment, status.error) == (Commitment.FINALIZED, None)
    assert await chain.signatures_for(RECEIVER) == [signature]


async def test_the_same_bytes_take_effect_once() -> None:
    chain = fake()
    raw = await payment(chain)

    assert await chain.send(raw) == await chain.send(raw)

    assert await balance(chain) == SOL
    assert len(chain.sent) == 2


async def test_a_transaction_that_cannot_work_is_refused_and_leaves_no_trace() -> None:
    chain = fake()
    raw = await payment(chain, 100 * SOL)

    with pytest.raises(TransactionRefusedError) as refused:
        await chain.send(raw)

    assert refused.value.program_error == 1
    assert any("insufficient lamports" in line for line in refused.value.logs)
    assert (await chain.simulate(raw)).error == refused.value.error
    assert await chain.signature_status(signature_in(raw)) is None
    assert await balance(chain, SENDER.pubkey()) == 10 * SOL


async def test_a_blockhash_holds_for_150_blocks() -> None:
    chain = fake()
    latest = await chain.latest_blockhash()
    raw = await payment(chain, blockhash=latest.blockhash)
    other = await payment(chain, 2 * SOL, blockhash=latest.blockhash)

    chain.advance(slots=150)
    assert await chain.block_height() == latest.last_valid_block_height
    await chain.send(raw)
    chain.advance(slots=1)
    with pytest.raises(TransactionRefusedError, match="BlockhashNotFound"):
        await chain.send(other)

    assert await balance(chain) == SOL


async def test_an_unknown_blockhash_and_a_forged_signature_are_refused() -> None:
    chain = fake()
    forged = bytearray(await payment(chain))
    forged[1] ^= 1

    with pytest.raises(TransactionRefusedError, match="BlockhashNotFound"):
        await chain.send(await payment(chain, blockhash=Hash.default()))
    with pytest.raises(TransactionRefusedError, match="SignatureFailure"):
        await chain.send(bytes(forged))

    assert await balance(chain) == 0


async def test_reads_lag_behind_as_far_as_told() -> None:
    chain = fake(confirmation_lag=1, finality_lag=32)
    signature = await chain.send(await payment(chain))
    seen = []

    for _ in range(33):
        status = await chain.signature_status(signature)
        assert status is not None
        at_levels = [await balance(chain, RECEIVER, level) == SOL for level in Commitment]
        assert at_levels == [status.commitment.covers(level) for level in Commitment]
        seen.append(status.commitment)
        chain.advance(slots=1)

    assert seen == [Commitment.PROCESSED] + [Commitment.CONFIRMED] * 31 + [Commitment.FINALIZED]


async def test_waiting_passes_time_here_and_none_elsewhere() -> None:
    chain = fake(finality_lag=32)
    started, slot = await chain.block_time(), await chain.slot()
    signature = await chain.send(await payment(chain))

    outcome = await confirm(chain, signature, commitment=Commitment.FINALIZED, clock=chain)

    assert outcome is ConfirmationOutcome.LANDED
    assert await chain.slot() == slot + 32
    assert chain.monotonic() == pytest.approx(32 * 0.4)
    assert await chain.block_time() == started + 12


async def test_a_dropped_transaction_expires() -> None:
    chain = fake()
    latest = await chain.latest_blockhash()
    chain.next_send(Fate.DROPPED)

    signature = await chain.send(await payment(chain))
    outcome = await confirm(
        chain, signature, last_valid_block_height=latest.last_valid_block_height, clock=chain, timeout=120
    )

    assert outcome is ConfirmationOutcome.EXPIRED
    assert await balance(chain) == 0


@pytest.mark.parametrize(("fate", "received"), [(Fate.LANDED_UNANSWERED, SOL), (Fate.LOST_UNANSWERED, 0)])
async def test_an_unanswered_transaction_may_have_landed(fate: Fate, received: int) -> None:
    chain = fake()
    chain.next_send(fate)
    raw = await payment(chain)

    with pytest.raises(SendOutcomeUnknownError) as unknown:
        await chain.send(raw)

    assert unknown.value.signature == signature_in(raw)
    assert await balance(chain) == received
    assert await chain.send(raw) == unknown.value.signature
    assert await balance(chain) == SOL


async def test_a_refusal_can_name_a_programs_number() -> None:
    chain = fake()
    chain.next_send(Fate.REFUSED, number=6153)
    raw = await payment(chain)

    with pytest.raises(TransactionRefusedError) as refused:
        await chain.send(raw)

    assert refused.value.program_error == 6153
    await chain.send(raw)
    assert await balance(chain) == SOL


async def test_a_failed_transaction_lands_without_effect() -> None:
    chain = fake()
    chain.next_send(Fate.FAILED, number=6153)

    signature = await chain.send(await payment(chain))

    assert await confirm(chain, signature, clock=chain) is ConfirmationOutcome.FAILED
    landed = await chain.transaction(signature)
    assert landed is not None
    assert landed.error == '{"InstructionError":[0,{"Custom":6153}]}'
    assert await balance(chain) == 0


async def test_an_unchecked_transaction_fails_where_it_lands_and_pays_its_fee() -> None:
    chain = fake()
    chain.next_send(Fate.UNCHECKED)

    signature = await chain.send(await payment(chain, 100 * SOL))

    status = await chain.signature_status(signature)
    assert status is not None
    assert status.error == '{"InstructionError":[0,{"Custom":1}]}'
    assert await balance(chain, SENDER.pubkey()) == 10 * SOL - 5_000


async def test_a_late_transaction_lands_in_its_slot_or_never() -> None:
    chain = fake()
    slot = await chain.slot()
    chain.next_send(Fate.LATE, slots=20)
    chain.next_send(Fate.LATE, slots=200)
    soon = await chain.send(await payment(chain))
    too_late = await chain.send(await payment(chain, 2 * SOL))

    chain.advance(slots=300)

    status = await chain.signature_status(soon)
    assert status is not None
    assert status.slot == slot + 20
    assert await chain.signature_status(too_late) is None
    assert await balance(chain) == SOL
    assert await chain.slot() == slot + 300


async def test_a_fork_takes_transactions_back() -> None:
    """F06: what was confirmed can vanish, and its sender can send it again."""
    chain = fake(finality_lag=32)
    kept = await chain.send(await payment(chain, SOL))
    chain.advance(slots=5)
    raw = await payment(chain, 2 * SOL)
    undone = await chain.send(raw)
    chain.advance(slots=2)

    chain.fork(3)

    assert await chain.signature_status(undone) is None
    assert await chain.signature_status(kept) is not None
    assert await balance(chain) == SOL
    with pytest.raises(TransactionRefusedError, match="BlockhashNotFound"):
        await chain.send(raw)


def test_what_is_finalized_is_not_taken_back() -> None:
    with pytest.raises(ValueError, match="finality lag of 32"):
        fake(finality_lag=32).fork(33)


async def test_a_chain_that_is_down_answers_nothing() -> None:
    chain = fake()
    raw = await payment(chain)
    chain.down = True

    with pytest.raises(ChainUnavailableError):
        await chain.account(RECEIVER)
    with pytest.raises(ChainUnavailableError):
        await chain.signature_status(signature_in(raw))
    with pytest.raises(SendOutcomeUnknownError):
        await chain.send(raw)

    chain.down = False
    assert await balance(chain) == 0


async def test_a_node_that_lags_is_noticed() -> None:
    """F07."""
    chain = fake()
    slot = await chain.slot()
    await chain.send(await payment(chain))
    chain.advance(slots=1)
    chain.behind = 10

    assert await balance(chain) == 0
    with pytest.raises(ChainUnavailableError, match="is behind"):
        await chain.account(RECEIVER, min_slot=slot)


async def test_history_is_paged_newest_first() -> None:
    chain = fake()
    sent = [await chain.send(await payment(chain, number * SOL)) for number in (1, 2, 3)]

    first = await chain.signatures_for(RECEIVER, limit=2)
    rest = await chain.signatures_for(RECEIVER, before=first[-1])

    assert first + rest == sent[::-1]


async def test_accounts_can_be_written_and_removed() -> None:
    chain = fake()
    address = Keypair().pubkey()

    chain.put(address, owner=TOKEN_PROGRAM_ID, data=bytes(165))
    written = await chain.account(address)
    chain.remove(address)

    assert written is not None
    assert (written.owner, len(written.data), written.lamports) == (TOKEN_PROGRAM_ID, 165, 2_039_280)
    assert await chain.account(address) is None


@pytest.mark.parametrize("token_program", [TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID])
async def test_it_runs_the_real_program(token_program: Pubkey) -> None:
    """1.0 deposited, 0.24 of it paid and 0.76 refunded by one `close`."""
    chain = fake()
    payer, operator, payee = SENDER, Keypair(), Keypair().pubkey()
    chain.fund(operator.pubkey())
    mint = await create_mint(chain, payer, token_program=token_program, clock=chain)
    await mint_to(
        chain, payer, owner=payer.pubkey(), mint=mint, amount=1_000_000, token_program=token_program, clock=chain
    )
    await mint_to(chain, payer, owner=payee, mint=mint, amount=0, token_program=token_program, clock=chain)
    params = OpenWithTermsParams(
        payer=payer.pubkey(),
        rent_payer=payer.pubkey(),
        payee=payee,
        operator=operator.pubkey(),
        mint=mint,
        authorized_signer=operator.pubkey(),
        salt=7,
        deposit=1_000_000,
        grace_period=900,
        open_slot=await chain.slot(),
        payer_token=derive_ata(payer.pubkey(), mint, token_program),
        token_program=token_program,
        price_per_unit=8_000,
        expires_at=0,
        sla_hash=NO_TERMS_HASH,
        batch=False,
    )
    address, _ = derive_session(params.seeds)
    await submit(chain, [open_with_terms(params)], [payer], clock=chain)
    session = await session_account(chain, address)
    assert session is not None
    assert (session.deposit, session.settled) == (1_000_000, 0)

    settle = close(
        submitter=operator.pubkey(),
        session=address,
        account=session,
        payee_token=derive_ata(payee, mint, token_program),
        payer_token=params.payer_token,
        token_program=token_program,
        amount=240_000,
        charged_units=30,
        usage_root=bytes(32),
        batch=False,
    )
    await submit(chain, [settle], [operator], clock=chain)

    assert await session_account(chain, address) is None
    assert await token_balance(chain, payee, mint, token_program=token_program) == 240_000
    assert await token_balance(chain, payer.pubkey(), mint, token_program=token_program) == 760_000
