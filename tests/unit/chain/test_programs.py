"""Which program is deployed: by its bytes, and by who may change them (C40)."""

import pytest
from solders.pubkey import Pubkey

from retainer.chain.errors import ForeignAccountError
from retainer.chain.fake import FakeChain
from retainer.chain.programs import deployed_program
from retainer.protocol.constants import PROGRAM_ID
from retainer.release import program_bytes
from tests.books import key

LOADER_V3 = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
CODE = b"program" * 100
AUTHORITY = key("authority")


def deploy(chain: FakeChain, code: bytes, authority: Pubkey | None) -> Pubkey:
    """As `solana program deploy` leaves it: a program account that points at its data."""
    held = b"\x01" + bytes(authority) if authority else bytes(33)
    chain.put(key("data"), owner=LOADER_V3, data=b"\x03\0\0\0" + bytes(8) + held + code)
    chain.put(key("program"), owner=LOADER_V3, data=b"\x02\0\0\0" + bytes(key("data")))
    return key("program")


@pytest.mark.parametrize("authority", [AUTHORITY, None])
async def test_an_upgradeable_program_is_its_bytes_and_its_authority(authority: Pubkey | None) -> None:
    chain = FakeChain()
    program = await deployed_program(chain, deploy(chain, CODE + bytes(50), authority))
    assert program is not None
    assert program.runs(CODE)
    assert program.upgrade_authority == authority


@pytest.mark.parametrize(
    "code", [CODE[:-1] + b"x", CODE + b"x", CODE + bytes(9) + b"x", CODE[1:], CODE[:-1], b"", b"\0" + CODE]
)
async def test_one_byte_changed_added_or_missing_is_another_program(code: bytes) -> None:
    chain = FakeChain()
    program = await deployed_program(chain, deploy(chain, code, AUTHORITY))
    assert program is not None
    assert not program.runs(CODE)


async def test_what_is_no_program_is_told_apart() -> None:
    chain = FakeChain()
    assert await deployed_program(chain, key("nowhere")) is None
    program = deploy(chain, CODE, AUTHORITY)
    chain.remove(key("data"))
    with pytest.raises(ForeignAccountError, match="has been closed"):
        await deployed_program(chain, program)
    # Whoever can write an account of its own can put our bytes into it.
    chain.put(key("copy"), owner=key("somebody"), data=program_bytes())
    with pytest.raises(ForeignAccountError, match="is no program"):
        await deployed_program(chain, key("copy"))


async def test_the_release_runs_on_the_fake_chain_byte_for_byte() -> None:
    program = await deployed_program(FakeChain(), PROGRAM_ID)
    assert program is not None
    assert program.runs(program_bytes())
