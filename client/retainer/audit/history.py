"""A session's own transactions, all of them, oldest first."""

from collections.abc import AsyncIterator
from typing import Final

from solders.pubkey import Pubkey

from retainer.audit.deeds import Deed, deeds_of
from retainer.audit.life import Life
from retainer.chain.base import Chain, Commitment

# The most that nodes give at once.
PAGE: Final = 1_000


async def signatures(chain: Chain, address: Pubkey) -> AsyncIterator[list[str]]:
    """Pages of signatures of transactions that name the address, newest first."""
    before: str | None = None
    while page := await chain.signatures_for(address, limit=PAGE, before=before):
        yield page
        before = page[-1]


async def read_life(
    chain: Chain, session: Pubkey, program: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED
) -> tuple[Life, list[Deed]]:
    """What was ever done to a session, oldest first, and what it comes to; no deeds where the node knows of none."""
    life, deeds = Life(str(session)), list[Deed]()
    async for page in signatures(chain, session):
        for signature in page:
            info = await chain.transaction(signature, commitment=commitment)
            found = [] if info is None else [deed for deed in deeds_of(info, program) if deed.session == session]
            deeds[:0] = found
    for deed in deeds:
        life.tell(deed)
    return life, deeds
