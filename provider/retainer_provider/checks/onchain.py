"""What the chain says of a service that is about to be served: node, clock, program, tokens, balances."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final
from urllib.parse import urlsplit

from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.errors import ChainUnavailableError
from retainer.chain.findings import Finding, WrongError, clocks_agree, lamports_of, node_answers, program_is, sol, told
from retainer.chain.notices import program_notices
from retainer.protocol.errors import LayoutError
from retainer.protocol.layouts import SESSION_OPERATOR_OFFSET, decode_mint, decode_token_account
from retainer.protocol.pda import derive_ata
from retainer.protocol.tokens import ALLOWED_MINT_EXTENSIONS
from retainer.release import program_bytes, program_hash
from retainer_provider.clock import Clock
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer

_FROZEN: Final = 2
# A close is one signature, two where a voucher is verified, and some compute at the highest fee by policy.
_CLOSE_LAMPORTS: Final = 20_000
# Rent of a token account and a session, which an opening that is sponsored lends until it is closed.
_OPENING_LAMPORTS: Final = 6_000_000
_FEWEST_CLOSES: Final = 500
_FEWEST_OPENINGS: Final = 10


async def check_node(identity: Identity, node: Chain, name: str, clock: Clock) -> AsyncIterator[Finding]:
    """Whether one node answers for the right cluster, and has the time that this machine has."""
    yield await told(f"node {name}", node_answers(node, identity.network, identity.commitment))
    yield await told(f"clock of {name}", clocks_agree(node, clock.now()))


async def check_announcements(identity: Identity, url: str) -> Finding:
    """Whether the node at `ws_url` announces what happens to this operator's sessions."""
    return await told(f"announcements of {urlsplit(url).hostname}", _announces(identity, url))


async def _announces(identity: Identity, url: str) -> str:
    notices = program_notices(url, program=identity.program_id, offset=SESSION_OPERATOR_OFFSET, key=identity.operator)
    try:
        async with aclosing(notices):
            await anext(notices)
    except ChainUnavailableError as error:
        raise WrongError(f"{error}: mend `ws_url`, or leave it out and exits are seen up to 5 seconds later") from None
    return "exits and top-ups will be seen as they happen"


async def check_service(identity: Identity, offers: Mapping[str, Offer], chain: Chain) -> AsyncIterator[Finding]:
    """Check one thing after the other; what the node does not answer is a finding too."""
    own = identity.program_id
    yield await told("program", program_is(chain, own, program_bytes(own), program_hash(own)))
    for offer in offers.values():
        yield await told(f"token of {offer.id}", _mint(offer, chain))
        yield await told(f"payee of {offer.id}", _payee(offer, identity, chain))
    yield await told("operator", _lamports(identity.operator, "settlements", _CLOSE_LAMPORTS, _FEWEST_CLOSES, chain))
    if identity.sponsor is not None:
        at_once = _lamports(identity.sponsor, "sponsored openings at once", _OPENING_LAMPORTS, _FEWEST_OPENINGS, chain)
        yield await told("sponsor", at_once)


async def _mint(offer: Offer, chain: Chain) -> str:
    info = await chain.account(offer.mint)
    if info is None:
        raise WrongError(f"there is no mint {offer.mint} on this cluster: set `mint` to a token that is there")
    if info.owner != offer.token_program:
        raise WrongError(f"mint {offer.mint} belongs to {info.owner}: set `token_program` to that")
    try:
        mint = decode_mint(info.data)
    except LayoutError as error:
        raise WrongError(f"{offer.mint} is no mint: {error}. Set `mint` to a token's") from None
    if mint.decimals != offer.decimals:
        raise WrongError(
            f"mint {offer.mint} has {mint.decimals} decimals: set `decimals` to that, and look at all amounts"
        )
    if refused := [number for number in mint.extensions if number not in ALLOWED_MINT_EXTENSIONS]:
        raise WrongError(f"mint {offer.mint} has extensions {refused}, which the program refuses: choose another token")
    return f"mint {offer.mint} is there, with {mint.decimals} decimals"


async def _payee(offer: Offer, identity: Identity, chain: Chain) -> str:
    address = derive_ata(identity.payee, offer.mint, offer.token_program)
    info = await chain.account(address)
    if info is None and not offer.anchor_on_chain:
        raise WrongError(f"the payee {identity.payee} has no token account to take deposits: create {address}")
    if info is None:
        return f"the payee {identity.payee} has no token account yet: the first settlement creates it at your cost"
    try:
        account = decode_token_account(info.data)
    except LayoutError as error:
        raise WrongError(f"the payee's token account {address} cannot be read: {error}. Set another `payee`") from None
    if account.owner != identity.payee:
        raise WrongError(f"the payee's token account {address} belongs to {account.owner} now: set another `payee`")
    if account.state == _FROZEN:
        raise WrongError(
            f"the payee's token account {address} is frozen: ask the token's issuer, or set another `payee`"
        )
    if not offer.anchor_on_chain:
        return f"sessions are custodial: you hold the deposits in {address}, and refund them from there"
    return f"the payee {identity.payee} is paid into {address}"


async def _lamports(payer: Pubkey, what: str, each: int, fewest: int, chain: Chain) -> str:
    lamports = await lamports_of(chain, payer)
    if lamports < fewest * each:
        raise WrongError(
            f"{payer} has {sol(lamports)}, enough for {lamports // each} {what}: "
            f"send it {sol(fewest * each - lamports)} or more, for {fewest} of them"
        )
    return f"{payer} has {sol(lamports)}, enough for {lamports // each} {what}"
