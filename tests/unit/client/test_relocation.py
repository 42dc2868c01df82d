"""The program for another address: changed where the address stands, and nowhere else."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.chain.sessions import read_session
from retainer.chain.submit import submit
from retainer.chain.testing import create_mint, mint_to
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.instructions import OpenParams, OpenWithTermsParams, open_session, open_with_terms
from retainer.protocol.pda import derive_ata, derive_event_authority, derive_session
from retainer.release import program_bytes, program_hash
from retainer.relocation import relocated

CODE = program_bytes()


def test_it_changes_whole_addresses_only_and_back_again_it_is_the_same() -> None:
    address = Keypair().pubkey()
    moved = program_bytes(address)
    assert relocated(moved, PROGRAM_ID, built_for=address) == CODE
    assert bytes(derive_event_authority())[:4] not in moved
    changed = [at for at, (old, new) in enumerate(zip(CODE, moved, strict=True)) if old != new]
    held = [CODE.count(bytes(own)[:4]) for own in (PROGRAM_ID, derive_event_authority())]
    assert held[0] > 1
    assert 0 < len(changed) <= sum(held) * len(bytes(PROGRAM_ID))
    assert bytes(PROGRAM_ID) not in moved
    assert program_hash(address) != program_hash()


def test_the_usual_address_changes_nothing() -> None:
    assert program_bytes(PROGRAM_ID) == CODE


@pytest.mark.parametrize("stray", [bytes(PROGRAM_ID)[:8], bytes(PROGRAM_ID)[12:16]])
def test_bytes_that_would_have_to_be_guessed_at_are_refused(stray: bytes) -> None:
    with pytest.raises(ValueError, match="build them anew"):
        relocated(CODE + stray, Pubkey.new_unique())


@pytest.mark.parametrize("with_terms", [False, True])
async def test_sessions_open_at_the_new_address_and_nowhere_but_there(*, with_terms: bool) -> None:
    address, payer, payee = Keypair().pubkey(), Keypair(), Keypair().pubkey()
    chain = FakeChain(program_id=address)
    chain.fund(payer.pubkey())
    mint = await create_mint(chain, payer, clock=chain)
    await mint_to(chain, payer, owner=payer.pubkey(), mint=mint, amount=base_units(1_000_000), clock=chain)
    stock = OpenParams(
        payer=payer.pubkey(),
        rent_payer=payer.pubkey(),
        payee=payee,
        mint=mint,
        authorized_signer=payer.pubkey(),
        salt=7,
        deposit=base_units(400_000),
        grace_period=900,
        open_slot=await chain.slot(),
        payer_token=derive_ata(payer.pubkey(), mint),
    )
    session, _ = derive_session(stock.seeds, address)
    opening = open_session(stock, address)
    if with_terms:
        fields = {name: getattr(stock, name) for name in OpenParams.__slots__}
        opening = open_with_terms(
            OpenWithTermsParams(
                **fields, operator=payee, price_per_unit=8_000, expires_at=await chain.block_time() + 60
            ),
            address,
        )
    await submit(chain, [opening], [payer], clock=chain)
    info = await chain.account(session)
    assert info is not None
    assert read_session(info, address).deposit == 400_000
