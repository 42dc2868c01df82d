"""What this service is on chain and to its clients: fixed at start, public, compared with everything that comes in."""

from dataclasses import dataclass

from solders.pubkey import Pubkey

from retainer.chain.base import Commitment
from retainer.protocol.constants import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """`operator` meters and settles, `payee` is paid; `commitment` is when a deposit counts.

    `sponsor` pays the fees of deposits, up to `sponsor_fee` lamports each.
    """

    realm: str
    network: Network
    program_id: Pubkey
    operator: Pubkey
    payee: Pubkey
    commitment: Commitment
    sponsor: Pubkey | None = None
    sponsor_fee: int = 0
