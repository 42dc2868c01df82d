"""An account is a session only by owner, layout and derivation together."""

from dataclasses import replace

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.base import Commitment
from retainer.chain.errors import ForeignAccountError
from retainer.chain.fake import FakeChain
from retainer.chain.sessions import session_account, sessions_of, token_account
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.layouts import encode_session
from retainer.protocol.pda import derive_session, derive_vault
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount


def key(number: int) -> Pubkey:
    return Keypair.from_seed(bytes([number] * 32)).pubkey()


def session() -> tuple[Pubkey, SessionAccount]:
    account = SessionAccount(
        version=1,
        bump=0,
        status=ChainStatus.OPEN,
        escrow_kind=EscrowKind.VAULT,
        decimals=6,
        payer=key(1),
        payee=key(2),
        operator=key(3),
        authorized_signer=key(3),
        rent_payer=key(1),
        mint=key(4),
        escrow=key(5),
        salt=1,
        open_slot=2,
        deposit=BaseUnits(1_000_000),
        settled=BaseUnits(0),
        charged_units=0,
        grace_period=900,
        opened_at=1_800_000_000,
        closure_started_at=0,
        price_per_unit=BaseUnits(8_000),
        expires_at=0,
        sla_hash=bytes(32),
    )
    address, bump = derive_session(account.seeds)
    return address, replace(account, bump=bump, escrow=derive_vault(address)[0])


async def test_a_session_is_read() -> None:
    chain, (address, account) = FakeChain(), session()
    chain.put(address, owner=PROGRAM_ID, data=encode_session(account))

    assert await session_account(chain, address) == account


async def test_no_account_is_no_session() -> None:
    assert await session_account(FakeChain(), key(9)) is None


async def test_the_same_bytes_of_another_program_are_refused() -> None:
    """C03."""
    chain, (address, account) = FakeChain(), session()
    chain.put(address, owner=key(7), data=encode_session(account))

    with pytest.raises(ForeignAccountError, match="belongs to"):
        await session_account(chain, address)


async def test_a_session_at_an_address_that_it_does_not_derive_is_refused() -> None:
    chain, (address, account) = FakeChain(), session()
    chain.put(address, owner=PROGRAM_ID, data=encode_session(replace(account, payer=key(8))))

    with pytest.raises(ForeignAccountError, match="another address"):
        await session_account(chain, address)


async def test_a_session_with_another_bump_is_refused() -> None:
    """C09."""
    chain, (address, account) = FakeChain(), session()
    chain.put(address, owner=PROGRAM_ID, data=encode_session(replace(account, bump=account.bump - 1)))

    with pytest.raises(ForeignAccountError, match="another address"):
        await session_account(chain, address)


@pytest.mark.parametrize("data", [b"", bytes(352), bytes(351), bytes(353)])
async def test_bytes_that_are_no_session_are_refused(data: bytes) -> None:
    """C04."""
    chain, (address, _) = FakeChain(), session()
    chain.put(address, owner=PROGRAM_ID, data=data)

    with pytest.raises(ForeignAccountError, match="no session"):
        await session_account(chain, address)


async def test_a_token_account_of_no_token_program_is_refused() -> None:
    chain = FakeChain()
    data = bytes(key(4)) + bytes(key(1)) + (7).to_bytes(8, "little") + bytes(36) + b"\x01" + bytes(56)
    chain.put(key(6), owner=TOKEN_PROGRAM_ID, data=data)
    chain.put(key(7), owner=PROGRAM_ID, data=data)
    chain.put(key(8), owner=TOKEN_PROGRAM_ID, data=data[:100])

    good = await token_account(chain, key(6))

    assert good is not None
    assert (good.mint, good.owner, good.amount) == (key(4), key(1), 7)
    assert await token_account(chain, key(9)) is None
    with pytest.raises(ForeignAccountError, match="not to a token program"):
        await token_account(chain, key(7))
    with pytest.raises(ForeignAccountError, match="no token account"):
        await token_account(chain, key(8))


async def test_an_operators_sessions_are_listed_and_nothing_else() -> None:
    chain, (address, account) = FakeChain(), session()
    for owner, place in ((PROGRAM_ID, address), (TOKEN_PROGRAM_ID, key(8))):
        chain.put(place, owner=owner, data=encode_session(account))
    # The same bytes at another address are no session; neither is an account with the key elsewhere.
    chain.put(key(9), owner=PROGRAM_ID, data=encode_session(account))
    chain.put(key(10), owner=PROGRAM_ID, data=bytes(account.operator) * 8)

    assert await sessions_of(chain, account.operator) == {address: account}
    assert await sessions_of(chain, account.payer) == {}


async def test_a_fresh_session_is_not_listed_before_it_is_final() -> None:
    chain, (address, account) = FakeChain(confirmation_lag=1, finality_lag=32), session()
    chain.advance(slots=40)
    chain.put(address, owner=PROGRAM_ID, data=encode_session(account))
    chain.advance(slots=5)
    assert await sessions_of(chain, account.operator) == {address: account}
    assert await sessions_of(chain, account.operator, commitment=Commitment.FINALIZED) == {}
