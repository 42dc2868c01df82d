"""`retainer doctor` and `retainer verify-program`: whether all is in place, before any money moves."""

import asyncio
import hashlib
import json
import os
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import httpx
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.findings import Finding, WrongError, clocks_agree, lamports_of, node_answers, program_is, sol, told
from retainer.chain.programs import deployed_program
from retainer.cli.failures import ExitStatus
from retainer.cli.options import Options, address, examples, reads_chain, spends
from retainer.errors import OfferError, PinError, StoreError, WalletError
from retainer.flows.offers import Offer, read_offers
from retainer.protocol.amounts import format_amount
from retainer.protocol.constants import PROGRAM_ID, Network
from retainer.protocol.tokens import token_symbol
from retainer.release import program_bytes, program_hash
from retainer.trust.facts import read_facts
from retainer.trust.look_alikes import imitated
from retainer.wallet import load_keypair

# An opening pays a signature and the rent of a session and its vault, which come back at its end.
_FEW_LAMPORTS = 10_000_000
_ASK_SECONDS = 15.0
# Agent and provider share what is checked, and name the same things differently.
_OPTIONS: Final = {
    "`rpc_url`": "--rpc-url",
    "`network`": "--network",
    "set `program_id`": "name another with --trust-program",
}
_LOCALNET_HINTS: Final = {
    "node": "`scripts/localnet` starts one, with the program and a test token",
    "program": "`scripts/localnet` starts a node that has it",
    "SOL": "`scripts/localnet faucet ADDRESS` gives SOL and test tokens",
    "tokens": "`scripts/localnet faucet ADDRESS` gives SOL and test tokens",
}


@click.command(
    epilog=examples(
        "retainer doctor", "retainer doctor https://api.example/ask --cluster devnet", "retainer doctor --json"
    )
)
@click.argument("url", required=False)
@spends
async def doctor(options: Options, url: str | None) -> ExitStatus:
    """Check node, clock, program, keypair, store, your balance and, with URL, what that service asks for.

    Nothing is signed and nothing is paid. Each line that is not right says how to mend it; exit status 1 then.
    """
    findings = []
    async with options.chain() as chain:
        async for found in _findings(options, chain, url):
            finding = _for_agents(found, options)
            findings.append(finding)
            if not options.as_json:
                mark = click.style("ok   ", fg="green") if finding.ok else click.style("WRONG", fg="red")
                click.echo(f"{mark} {finding.name}: {finding.sentence}")
    if options.as_json:
        told_ = [{"name": one.name, "ok": one.ok, "sentence": one.sentence} for one in findings]
        click.echo(json.dumps({"findings": told_}, indent=2))
    return ExitStatus.OK if all(finding.ok for finding in findings) else ExitStatus.FAILED


@click.command(
    epilog=examples(
        "retainer verify-program --cluster devnet",
        "retainer verify-program PROGRAM_ID --so session_escrow.so --rpc-url https://api.devnet.solana.com",
    )
)
@click.argument("program_id", type=address, default=str(PROGRAM_ID))
@click.option(
    "--so",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The bytes to expect.  [default: the ones that this release brings]",
)
@reads_chain
async def verify_program(options: Options, program_id: Pubkey, so: Path | None) -> ExitStatus:
    """Check that the program deployed at PROGRAM_ID is, byte for byte, the one that this release was tested with.

    At another address than the usual one it differs by that address alone. Any node will do, and no key is needed.
    Tells who may still change the program; exit status 1 where it is another.
    """
    expected = program_bytes(program_id) if so is None else await asyncio.to_thread(so.read_bytes)
    digest = hashlib.sha256(expected).hexdigest()
    async with options.chain() as chain:
        finding = await told("program", program_is(chain, program_id, expected, digest))
        deployed = await deployed_program(chain, program_id) if finding.ok else None
    if options.as_json:
        authority = None if deployed is None or deployed.upgrade_authority is None else str(deployed.upgrade_authority)
        facts = {"program": str(program_id), "ok": finding.ok, "sha256": digest, "upgradeAuthority": authority}
        click.echo(json.dumps({**facts, "sentence": finding.sentence}, indent=2))
    else:
        click.echo(finding.sentence)
    return ExitStatus.OK if finding.ok else ExitStatus.FAILED


def _for_agents(finding: Finding, options: Options) -> Finding:
    """The finding in an agent's words: options for settings, and on localnet this project's own commands."""
    sentence = finding.sentence
    for setting, option in _OPTIONS.items():
        sentence = sentence.replace(setting, option)
    if not finding.ok and options.network == Network.LOCALNET and finding.name in _LOCALNET_HINTS:
        sentence = f"{sentence}. On localnet: {_LOCALNET_HINTS[finding.name]}"
    return replace(finding, sentence=sentence)


async def _findings(options: Options, chain: Chain, url: str | None) -> AsyncIterator[Finding]:
    network = Network(options.network)
    yield await told("node", node_answers(chain, network))
    yield await told("clock", clocks_agree(chain, int(time.time())))
    if options.programs or PROGRAM_ID not in options.pins.programs:
        # Named by the user, or other people's: that they are programs, and whether they are this release's.
        for program in sorted(options.programs or options.pins.programs, key=str):
            yield await told("program", _is_there(chain, program))
    else:
        yield await told("program", program_is(chain, PROGRAM_ID, program_bytes(), program_hash()))
    keypair, payer = _keypair(options)
    yield keypair
    yield await told("store", _store(options))
    offer = None
    if url is not None:
        finding, offer = await _ask(options, url)
        yield finding
    if payer is not None:
        yield await told("SOL", _lamports(chain, payer, sponsored=offer is not None and offer.sponsor is not None))
    if payer is not None and offer is not None:
        yield await told("tokens", _tokens(chain, payer, offer))


def _keypair(options: Options) -> tuple[Finding, Pubkey | None]:
    try:
        payer = load_keypair(options.keypair).pubkey()
    except WalletError as error:
        return Finding("keypair", ok=False, sentence=str(error)), None
    return Finding(
        "keypair", ok=True, sentence=f"{options.keypair} is readable by you alone, and pays as {payer}"
    ), payer


async def _store(options: Options) -> str:
    """Whether the session file can be used; one that is not there yet is made by the first `ask`."""
    path = options.store
    if not path.exists():
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise WrongError(f"{path} cannot be made, for {folder} is not yours to write: name another with --store")
        return f"{path} is not there yet; the first `retainer ask` makes it"
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise WrongError(f"{path} spends your sessions and can be read by others; run: chmod 600 {path}")
    try:
        kept = await options.keeper().channels(load_keypair(options.keypair).pubkey())
    except WalletError:
        return f"{path} is there; whose sessions to look for, no keypair says"
    except StoreError as error:
        raise WrongError(f"{error}; name another with --store, or bring back a copy") from None
    return f"{path} has {len(kept)} session{'' if len(kept) == 1 else 's'} of this keypair"


async def _is_there(chain: Chain, program: Pubkey) -> str:
    deployed = await deployed_program(chain, program)
    if deployed is None:
        raise WrongError(f"there is no program {program} on this cluster: use another node, or trust another program")
    if not deployed.runs(program_bytes(program)):
        return f"{program} is deployed; its bytes are not this release's to know"
    return await program_is(chain, program, program_bytes(program), program_hash(program))


async def _ask(options: Options, url: str) -> tuple[Finding, Offer | None]:
    try:
        async with httpx.AsyncClient(timeout=_ASK_SECONDS) as http:
            answer = await http.get(url)
        offers = read_offers(answer)
        if not offers:
            return Finding(
                "offer",
                ok=False,
                sentence=f"{url} answers {answer.status_code} and offers no session: ask for a path that is sold",
            ), None
        offer = offers[0]
        options.pins.require(offer.request.network, offer.request.channel_program)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        sentence = f"{url} did not answer ({type(error).__name__}): look at the address, or ask whoever runs it"
        return Finding("offer", ok=False, sentence=sentence), None
    except (OfferError, PinError) as error:
        return Finding("offer", ok=False, sentence=str(error)), None
    return Finding("offer", ok=True, sentence=_words(offer)), offer


def _words(offer: Offer) -> str:
    request, decimals = offer.request, offer.request.decimals or 0
    token = token_symbol(request.currency) or str(request.currency)
    deposit = (
        "any deposit" if offer.suggested_deposit is None else f"{_shown(offer.suggested_deposit, decimals)} suggested"
    )
    mode = "you sign each amount" if offer.takes_vouchers else "the service names each amount"
    return f"{_shown(request.amount, decimals)} {token} a request, {deposit}; {mode}; settled by {offer.operator}"


def _shown(units: int, decimals: int) -> str:
    return format_amount(units, decimals)


async def _lamports(chain: Chain, payer: Pubkey, *, sponsored: bool) -> str:
    lamports = await lamports_of(chain, payer)
    if lamports < _FEW_LAMPORTS and not sponsored:
        raise WrongError(f"{payer} has {sol(lamports)}: send it {sol(_FEW_LAMPORTS)}, most of which comes back")
    return f"{payer} has {sol(lamports)}" + (", and the service pays fees and rent" if sponsored else "")


async def _tokens(chain: Chain, payer: Pubkey, offer: Offer) -> str:
    request = offer.request
    try:
        facts = await read_facts(chain, request.currency, payer)
    except OfferError as error:
        raise WrongError(str(error)) from None
    imitates = imitated(request.currency, facts.names)
    if imitates is not None:
        raise WrongError(
            f"{request.currency} calls itself {' / '.join(facts.names)}, which looks like {imitates}, and is another "
            "token: pay only if you know who issues it"
        )
    least = request.minimum_deposit or request.amount
    named = token_symbol(request.currency) or str(request.currency)
    if facts.balance < least:
        raise WrongError(
            f"{payer} has {_shown(facts.balance, facts.decimals)} of {named}: "
            f"send it {_shown(least - facts.balance, facts.decimals)} more, for the smallest deposit"
        )
    return (
        f"{payer} has {_shown(facts.balance, facts.decimals)} of {named}; "
        f"the smallest deposit is {_shown(least, facts.decimals)}"
    )
