"""Whether a service can be served as set: keys, node, program, tokens, balances; each answer is a sentence."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain
from retainer.chain.errors import ChainError
from retainer.protocol.errors import LayoutError
from retainer.protocol.layouts import decode_mint
from retainer.protocol.pda import derive_ata
from retainer.protocol.tokens import ALLOWED_MINT_EXTENSIONS
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer

_LOADER_V3: Final = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
_PROGRAM_STATE_BYTES: Final = 36  # u32 tag 2, then the address of the program's data
_PROGRAM_DATA_HEADER: Final = 45  # u32 tag 3, u64 slot, optional upgrade authority
# Settling one session costs a signature, and at worst a token account's rent.
_LOW_LAMPORTS: Final = 10_000_000
_LAMPORTS_PER_SOL: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked thing."""

    name: str
    ok: bool
    sentence: str


async def check_service(identity: Identity, offers: Mapping[str, Offer], chain: Chain) -> AsyncIterator[Finding]:
    """Check one thing after the other; what the node does not answer is a finding too."""
    yield await _told("program", _check_program(identity, chain))
    for offer in offers.values():
        yield await _told(f"token of {offer.id}", _check_mint(offer, chain))
        yield await _told(f"payee of {offer.id}", _check_payee(offer, identity, chain))
    yield await _told("operator", _check_lamports(identity.operator, "settlements", chain))
    if identity.sponsor is not None:
        yield await _told("sponsor", _check_lamports(identity.sponsor, "agents' fees and rent", chain))


class _Wrong(Exception):  # noqa: N818 - a finding, not an error
    """What is wrong with the thing checked."""


async def check_node(identity: Identity, node: Chain, name: str) -> Finding:
    """Whether one node answers."""
    return await _told(f"node {name}", _check_node(identity, node))


async def _told(name: str, check: Awaitable[str]) -> Finding:
    try:
        return Finding(name, ok=True, sentence=await check)
    except _Wrong as wrong:
        return Finding(name, ok=False, sentence=str(wrong))
    except ChainError as error:
        return Finding(name, ok=False, sentence=f"the node at `rpc_url` gave no usable answer: {error}")


async def _check_node(identity: Identity, chain: Chain) -> str:
    slot, time = await chain.slot(commitment=identity.commitment), await chain.block_time()
    return f"answers; the newest {identity.commitment} slot is {slot}, the chain's time {time}"


async def _check_program(identity: Identity, chain: Chain) -> str:
    program = await chain.account(identity.program_id)
    if program is None:
        raise _Wrong(f"there is no program {identity.program_id} on {identity.network}: set `program_id`, or deploy it")
    deployed = await _program_bytes(program, chain)
    ours = (resources.files("retainer") / "artifacts" / "session_escrow.so").read_bytes()
    digest = hashlib.sha256(ours).hexdigest()
    # What a program does not fill of its account is zero.
    if deployed[: len(ours)] != ours or any(deployed[len(ours) :]):
        raise _Wrong(
            f"program {identity.program_id} is not the one of this release (SHA-256 {digest}): deploy that one, "
            "or use the release that fits"
        )
    return f"{identity.program_id} is this release's, SHA-256 {digest}"


async def _program_bytes(program: AccountInfo, chain: Chain) -> bytes:
    if program.owner != _LOADER_V3:
        return program.data
    if len(program.data) != _PROGRAM_STATE_BYTES:
        raise _Wrong(f"{program.address} is no program")
    data = await chain.account(Pubkey.from_bytes(program.data[-Pubkey.LENGTH :]))
    return b"" if data is None else data.data[_PROGRAM_DATA_HEADER:]


async def _check_mint(offer: Offer, chain: Chain) -> str:
    info = await chain.account(offer.mint)
    if info is None:
        raise _Wrong(f"there is no mint {offer.mint} on this cluster: set `mint` to a token that is there")
    if info.owner != offer.token_program:
        raise _Wrong(f"mint {offer.mint} belongs to {info.owner}: set `token_program` to that")
    try:
        mint = decode_mint(info.data)
    except LayoutError as error:
        raise _Wrong(f"{offer.mint} is no mint: {error}") from None
    if mint.decimals != offer.decimals:
        raise _Wrong(f"mint {offer.mint} has {mint.decimals} decimals: set `decimals` to that, and look at all amounts")
    if refused := [number for number in mint.extensions if number not in ALLOWED_MINT_EXTENSIONS]:
        raise _Wrong(f"mint {offer.mint} has extensions {refused}, which the program refuses: choose another token")
    return f"mint {offer.mint} is there, with {mint.decimals} decimals"


async def _check_payee(offer: Offer, identity: Identity, chain: Chain) -> str:
    account = derive_ata(identity.payee, offer.mint, offer.token_program)
    missing = await chain.account(account) is None
    if not offer.anchor_on_chain:
        if missing:
            raise _Wrong(f"the payee {identity.payee} has no token account for deposits: create {account}")
        return f"sessions are custodial: you hold the deposits in {account}, and refund them from there"
    if missing:
        return f"the payee {identity.payee} has no token account yet: the first settlement creates it at your cost"
    return f"the payee {identity.payee} is paid into {account}"


async def _check_lamports(payer: Pubkey, what: str, chain: Chain) -> str:
    info = await chain.account(payer)
    lamports = 0 if info is None else info.lamports
    if lamports < _LOW_LAMPORTS:
        raise _Wrong(
            f"{payer} has {lamports / _LAMPORTS_PER_SOL:.9f} SOL: send it at least "
            f"{_LOW_LAMPORTS / _LAMPORTS_PER_SOL} SOL, because it pays for {what}"
        )
    return f"{payer} has {lamports / _LAMPORTS_PER_SOL:.9f} SOL for {what}"
