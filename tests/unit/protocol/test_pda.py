from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, U64_MAX
from retainer.protocol.errors import AmountError
from retainer.protocol.pda import SessionSeeds, derive_ata, derive_event_authority, derive_session, derive_vault
from tests.golden import golden
from tests.unit.protocol.examples import OPEN


@pytest.mark.parametrize("case", golden("addresses"))
def test_addresses_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    """The first case is the one that the wire draft publishes."""
    program, mint = Pubkey.from_string(case["program"]), Pubkey.from_string(case["mint"])
    seeds = SessionSeeds(
        payer=Pubkey.from_string(case["payer"]),
        payee=Pubkey.from_string(case["payee"]),
        mint=mint,
        authorized_signer=Pubkey.from_string(case["authorizedSigner"]),
        salt=int(case["salt"]),
        open_slot=int(case["openSlot"]),
    )
    session, bump = derive_session(seeds, program)
    assert (str(session), bump) == (case["session"], case["sessionBump"])
    vault, vault_bump = derive_vault(session, program)
    assert (str(vault), vault_bump) == (case["vault"], case["vaultBump"])
    assert str(derive_ata(session, mint)) == case["escrowAta"]
    assert str(derive_ata(session, mint, TOKEN_2022_PROGRAM_ID)) == case["escrowAtaToken2022"]
    assert str(derive_event_authority(program)) == case["eventAuthority"]


@pytest.mark.parametrize("number", [-1, U64_MAX + 1])
def test_a_salt_or_slot_beyond_u64_has_no_address(number: int) -> None:
    seeds = OPEN.seeds
    with pytest.raises(AmountError):
        derive_session(SessionSeeds(seeds.payer, seeds.payee, seeds.mint, seeds.payer, number, 0))
    with pytest.raises(AmountError):
        derive_session(SessionSeeds(seeds.payer, seeds.payee, seeds.mint, seeds.payer, 0, number))
