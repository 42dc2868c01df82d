"""RpcChain against a real validator."""

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from retainer.chain.base import Commitment
from retainer.chain.confirm import ConfirmationOutcome, confirm
from retainer.chain.errors import ChainUnavailableError, TransactionRefusedError
from retainer.chain.rpc import RpcChain
from retainer.chain.sessions import token_account
from retainer.chain.submit import submit
from retainer.chain.testing import create_ata, create_mint, mint_to, token_balance
from retainer.localnet import time_travel
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.layouts import decode_mint
from tests.localnet import LocalValidator

SOL = 1_000_000_000


async def signed_transfer(
    chain: RpcChain, sender: Keypair, lamports: int, *, to: Pubkey | None = None, blockhash: Hash | None = None
) -> bytes:
    use = blockhash or (await chain.latest_blockhash()).blockhash
    params = TransferParams(from_pubkey=sender.pubkey(), to_pubkey=to or Keypair().pubkey(), lamports=lamports)
    message = Message.new_with_blockhash([transfer(params)], sender.pubkey(), use)
    return bytes(Transaction([sender], message, use))


async def test_a_transaction_is_sent_confirmed_and_found(chain: RpcChain, localnet: LocalValidator) -> None:
    sender, receiver = await localnet.person(), Keypair().pubkey()
    raw = await signed_transfer(chain, sender, SOL, to=receiver)

    signature = await chain.send(raw)

    assert await confirm(chain, signature) is ConfirmationOutcome.LANDED
    landed = await chain.transaction(signature)
    assert landed is not None
    assert (landed.signature, landed.raw, landed.error, landed.fee) == (signature, raw, None, 5_000)
    assert landed.logs[0] == "Program 11111111111111111111111111111111 invoke [1]"
    assert landed.compute_units == 150
    account = await chain.account(receiver)
    assert account is not None
    assert (account.lamports, account.data) == (SOL, b"")
    assert (await chain.signatures_for(receiver))[0] == signature
    assert await chain.signatures_for(receiver, before=signature) == []


async def test_sending_the_same_bytes_again_is_safe(chain: RpcChain, localnet: LocalValidator) -> None:
    sender, receiver = await localnet.person(), Keypair().pubkey()
    raw = await signed_transfer(chain, sender, SOL, to=receiver)
    first = await chain.send(raw)
    await confirm(chain, first)

    assert await chain.send(raw) == first

    account = await chain.account(receiver)
    assert account is not None
    assert account.lamports == SOL


async def test_finality_comes_later_and_is_waited_for(chain: RpcChain, localnet: LocalValidator) -> None:
    signature = await chain.send(await signed_transfer(chain, await localnet.person(), SOL))
    assert await confirm(chain, signature) is ConfirmationOutcome.LANDED
    early = await chain.signature_status(signature)
    assert early is not None
    assert early.commitment is Commitment.CONFIRMED

    outcome = await confirm(chain, signature, commitment=Commitment.FINALIZED)

    assert outcome is ConfirmationOutcome.LANDED
    status = await chain.signature_status(signature)
    assert status is not None
    assert (status.commitment, status.error) == (Commitment.FINALIZED, None)
    assert await chain.slot(commitment=Commitment.FINALIZED) >= status.slot


async def test_a_refused_transaction_names_the_programs_number(chain: RpcChain, localnet: LocalValidator) -> None:
    raw = await signed_transfer(chain, await localnet.person(), 1_000 * SOL)

    with pytest.raises(TransactionRefusedError) as refused:
        await chain.send(raw)

    assert refused.value.program_error == 1
    assert refused.value.error == '{"InstructionError":[0,{"Custom":1}]}'
    assert any("insufficient lamports" in line for line in refused.value.logs)
    simulated = await chain.simulate(raw)
    assert simulated.error == refused.value.error
    assert await chain.signature_status(str(Transaction.from_bytes(raw).signatures[0])) is None


async def test_a_forged_signature_is_refused(chain: RpcChain, localnet: LocalValidator) -> None:
    forged = bytearray(await signed_transfer(chain, await localnet.person(), SOL))
    forged[1] ^= 1

    with pytest.raises(TransactionRefusedError):
        await chain.send(bytes(forged))

    assert (await chain.simulate(bytes(forged))).error == '"SignatureFailure"'


@pytest.mark.parametrize("raw", [b"", b"\x01\x02", bytes(40)])
async def test_bytes_that_are_no_transaction_are_refused(chain: RpcChain, raw: bytes) -> None:
    with pytest.raises(TransactionRefusedError):
        await chain.send(raw)


async def test_an_unknown_blockhash_is_refused_by_name(chain: RpcChain, localnet: LocalValidator) -> None:
    raw = await signed_transfer(chain, await localnet.person(), SOL, blockhash=Hash.default())

    with pytest.raises(TransactionRefusedError) as refused:
        await chain.send(raw)

    assert refused.value.error == '"BlockhashNotFound"'
    assert refused.value.program_error is None


async def test_an_expired_transaction_is_told_from_an_unknown_one(chain: RpcChain, localnet: LocalValidator) -> None:
    never_sent = await signed_transfer(chain, await localnet.person(), SOL)
    signature = str(Transaction.from_bytes(never_sent).signatures[0])
    height = await chain.block_height(commitment=Commitment.FINALIZED)

    waiting = await confirm(chain, signature, last_valid_block_height=height + 150, timeout=0)
    too_late = await confirm(chain, signature, last_valid_block_height=height - 1, timeout=0)

    assert waiting is ConfirmationOutcome.UNKNOWN
    assert too_late is ConfirmationOutcome.EXPIRED


async def test_what_is_not_there_is_none(chain: RpcChain) -> None:
    nobody, nothing = Keypair().pubkey(), "1" * 64

    assert await chain.account(nobody) is None
    assert await chain.accounts([nobody, nobody]) == [None, None]
    assert await chain.signature_status(nothing) is None
    assert await chain.transaction(nothing) is None
    assert await chain.signature_status("no signature at all") is None
    assert await chain.transaction("no signature at all") is None
    assert await chain.signatures_for(nobody) == []


async def test_an_answer_older_than_asked_for_is_no_answer(chain: RpcChain) -> None:
    """F07: what was seen once cannot be unseen through a node that is behind."""
    far = await chain.slot() + 1_000_000

    with pytest.raises(ChainUnavailableError, match="is behind"):
        await chain.account(TOKEN_PROGRAM_ID, min_slot=far)
    with pytest.raises(ChainUnavailableError, match="is behind"):
        await chain.accounts([TOKEN_PROGRAM_ID], min_slot=far)


@pytest.mark.parametrize("token_program", [TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID])
async def test_tokens_can_be_made_and_counted(chain: RpcChain, localnet: LocalValidator, token_program: Pubkey) -> None:
    authority, owner = await localnet.person(), Keypair().pubkey()

    mint = await create_mint(chain, authority, decimals=4, token_program=token_program)
    assert await token_balance(chain, owner, mint, token_program=token_program) == 0
    address = await create_ata(chain, authority, owner=owner, mint=mint, token_program=token_program)
    await mint_to(chain, authority, owner=owner, mint=mint, amount=1_234, token_program=token_program)

    assert await token_balance(chain, owner, mint, token_program=token_program) == 1_234
    account = await token_account(chain, address)
    assert account is not None
    assert (account.owner, account.mint, account.amount) == (owner, mint, 1_234)
    info = await chain.account(mint)
    assert info is not None
    assert (decode_mint(info.data).decimals, decode_mint(info.data).supply) == (4, 1_234)


async def test_submitting_what_fails_raises(chain: RpcChain, localnet: LocalValidator) -> None:
    sender = await localnet.person()
    params = TransferParams(from_pubkey=sender.pubkey(), to_pubkey=Keypair().pubkey(), lamports=1_000 * SOL)

    with pytest.raises(TransactionRefusedError):
        await submit(chain, [transfer(params)], [sender])


async def test_time_is_the_chains_own(own_localnet: LocalValidator) -> None:
    async with RpcChain(own_localnet.rpc_url) as chain:
        before, slot = await chain.block_time(), await chain.slot()

        await time_travel(own_localnet.rpc_url, before + 3_600)

        assert 0 <= await chain.block_time() - before - 3_600 <= 2
        assert await chain.slot() > slot
