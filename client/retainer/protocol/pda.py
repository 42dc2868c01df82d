"""Program-derived addresses: where a session, its vault and token accounts must live."""

from dataclasses import dataclass
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.amounts import base_units
from retainer.protocol.constants import ATA_PROGRAM_ID, PROGRAM_ID, TOKEN_PROGRAM_ID

_SESSION_SEED: Final = b"channel"
_VAULT_SEED: Final = b"vault"
_EVENT_AUTHORITY_SEED: Final = b"event_authority"


@dataclass(frozen=True, slots=True)
class SessionSeeds:
    """What a session's address commits to; ``open_slot`` makes the address of each incarnation unique."""

    payer: Pubkey
    payee: Pubkey
    mint: Pubkey
    authorized_signer: Pubkey
    salt: int
    open_slot: int


def derive_session(seeds: SessionSeeds, program_id: Pubkey = PROGRAM_ID) -> tuple[Pubkey, int]:
    """The session's address and bump; AmountError when salt or slot is no u64."""
    return Pubkey.find_program_address(
        [
            _SESSION_SEED,
            bytes(seeds.payer),
            bytes(seeds.payee),
            bytes(seeds.mint),
            bytes(seeds.authorized_signer),
            base_units(seeds.salt).to_bytes(8, "little"),
            base_units(seeds.open_slot).to_bytes(8, "little"),
        ],
        program_id,
    )


def derive_vault(session: Pubkey, program_id: Pubkey = PROGRAM_ID) -> tuple[Pubkey, int]:
    """The vault of a session opened with terms, and its bump."""
    return Pubkey.find_program_address([_VAULT_SEED, bytes(session)], program_id)


def derive_ata(owner: Pubkey, mint: Pubkey, token_program: Pubkey = TOKEN_PROGRAM_ID) -> Pubkey:
    """The associated token account of ``owner``: the escrow of a stock session when ``owner`` is the session."""
    return Pubkey.find_program_address([bytes(owner), bytes(token_program), bytes(mint)], ATA_PROGRAM_ID)[0]


def derive_event_authority(program_id: Pubkey = PROGRAM_ID) -> Pubkey:
    """Only an account slot of the stock ``open``; nothing signs with it."""
    return Pubkey.find_program_address([_EVENT_AUTHORITY_SEED], program_id)[0]
