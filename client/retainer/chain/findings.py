"""What an agent and a provider both check before they trust a node with money: each answer is a sentence."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.clusters import public_cluster
from retainer.chain.errors import ChainError, ForeignAccountError
from retainer.chain.programs import deployed_program
from retainer.protocol.constants import Network

LAMPORTS_PER_SOL: Final = 1_000_000_000
# Deadlines are hours apart; challenges, blockhashes and receipts are minutes.
_MOST_SKEW: Final = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked thing. What is not `ok` says in its sentence how to mend it."""

    name: str
    ok: bool
    sentence: str


class WrongError(Exception):
    """What is wrong with the thing checked, and how to mend it."""


async def told(name: str, check: Awaitable[str]) -> Finding:
    """A check as a finding; what the node does not answer is one too."""
    try:
        return Finding(name, ok=True, sentence=await check)
    except WrongError as wrong:
        return Finding(name, ok=False, sentence=str(wrong))
    except ForeignAccountError as error:
        return Finding(name, ok=False, sentence=str(error))
    except ChainError as error:
        return Finding(
            name, ok=False, sentence=f"the node at `rpc_url` gave no usable answer: {error}. Try another node"
        )


async def node_answers(chain: Chain, network: Network, commitment: Commitment = Commitment.CONFIRMED) -> str:
    """Whether the node answers, for the cluster that it is taken for."""
    found = public_cluster(await chain.genesis_hash())
    if found is not network and (found is not None or network is not Network.LOCALNET):
        is_one = "of no public cluster" if found is None else f"of {found}"
        raise WrongError(f"the node is {is_one}, not of {network}: make `rpc_url` and `network` agree")
    slot = await chain.slot(commitment=commitment)
    return f"answers for {network}; the newest {commitment} slot is {slot}"


async def clocks_agree(chain: Chain, now: int) -> str:
    """Whether this machine's clock is the chain's: deadlines are the chain's to decide."""
    time = await chain.block_time()
    ahead = now - time
    if abs(ahead) > _MOST_SKEW:
        raise WrongError(
            f"this machine's clock is {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} the chain's: "
            "set it by NTP (`timedatectl set-ntp true`), or use a node that keeps up"
        )
    return f"this machine's clock and the chain's are {abs(ahead)} s apart"


async def program_is(chain: Chain, address: Pubkey, expected: bytes, sha256: str) -> str:
    """Whether exactly these bytes are deployed (C40), and who could change them."""
    program = await deployed_program(chain, address)
    if program is None:
        raise WrongError(f"there is no program {address} on this cluster: set `program_id`, or deploy it")
    if not program.runs(expected):
        raise WrongError(
            f"program {address} is not the one of this release (SHA-256 {sha256}): deploy that one, "
            "or use the release that fits"
        )
    may = "nobody can change it" if program.upgrade_authority is None else f"{program.upgrade_authority} can change it"
    return f"{address} is this release's, SHA-256 {sha256}; {may}"


async def lamports_of(chain: Chain, address: Pubkey) -> int:
    """What an account holds; 0 where there is none."""
    info = await chain.account(address)
    return 0 if info is None else info.lamports


def sol(lamports: int) -> str:
    """Lamports as people read them, exactly."""
    return f"{lamports // LAMPORTS_PER_SOL}.{lamports % LAMPORTS_PER_SOL:09d} SOL"
