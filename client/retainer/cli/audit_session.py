"""`retainer audit session`: what one session holds and promises, whether it lives or has ended."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
from solders.pubkey import Pubkey

from retainer.audit.deeds import Deed
from retainer.audit.findings import Finding
from retainer.audit.history import read_life
from retainer.audit.life import DEED_WORDS, End, Life
from retainer.audit.promises import Promise, broken_promises, read_offer, read_terms, terms_words
from retainer.audit.session import Right, Standing, life_committed, life_findings, rights, standing_findings
from retainer.chain.base import AccountInfo, Chain
from retainer.chain.sessions import read_session, token_account
from retainer.cli.failures import ExitStatus
from retainer.cli.options import Options, address, examples, reads_chain
from retainer.cli.words import account_json, account_words, moment
from retainer.errors import UnknownSessionError
from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.layouts import decode_mint
from retainer.protocol.sla import NO_TERMS_HASH

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_WIDTH = 16


@click.command(
    epilog=examples(
        "retainer audit session 9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",
        "retainer audit session 9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin --offer https://api.example/ask",
    )
)
@click.argument("pda", type=address)
@click.option("--terms", type=_FILE, help="SLA terms as JSON, to be held against the hash that the session committed.")
@click.option("--offer", metavar="URL", help="A priced URL of the provider: its offer is held against the session.")
@reads_chain
async def session(options: Options, pda: Pubkey, terms: Path | None, offer: str | None) -> ExitStatus:
    """Say what the session at PDA holds, promises, and who can do what from when.

    An ended session is told from its transactions. Needs no key. Exit status 8 where something contradicts.
    """
    promises = [read_terms(terms)] if terms else []
    if offer:
        promises.append(await read_offer(offer))
    async with options.chain() as chain:
        info = await chain.account(pda)
        findings = await (
            _ended(options, chain, pda, promises) if info is None else _standing(options, chain, info, promises)
        )
    if not options.as_json:
        for found in findings:
            click.echo(f"{click.style('WRONG', fg='red')} {found}")
        if not findings:
            click.echo(click.style("Nothing here contradicts.", fg="green"))
    return ExitStatus.DISHONEST if findings else ExitStatus.OK


async def _standing(
    options: Options, chain: Chain, info: AccountInfo, promises: Sequence[Promise]
) -> Sequence[Finding]:
    # A foreign account is read as one of the first pinned program, which names what is wrong with it.
    programs = options.pins.programs
    program = info.owner if info.owner in programs else next(iter(programs))
    account = read_session(info, program)
    standing = Standing(info.address, account, await token_account(chain, account.escrow), await chain.block_time())
    life, deeds = await read_life(chain, info.address, program)
    findings = [*standing_findings(standing)]
    findings += [found for promise in promises for found in broken_promises(promise, standing.committed)]

    def shown(units: int) -> str:
        return format_amount(units, account.decimals)

    left = standing.requests_left
    if options.as_json:
        derived: dict[str, Json] = {
            "state": str(standing.state),
            "requests_left": left,
            "escrow_balance": str(standing.owed + standing.surplus),
            "escrow_surplus": str(standing.surplus),
            "rights": [_right_json(right) for right in rights(standing)],
        }
        _print_json(account_json(str(info.address), account) | derived, life, deeds, findings)
        return findings
    facts = {
        "state": f"{standing.state}, by what the chain knows",
        "requests left": "depends on the price of each"
        if left is None
        else f"{left} at most: what is spent and not yet settled stands in the provider's books",
        "escrow": f"holds {shown(max(0, standing.owed + standing.surplus))}, and must hold {shown(standing.owed)}"
        + (f"; {shown(standing.surplus)} were sent to it by others" if standing.surplus > 0 else ""),
        "charged": f"{account.charged_units} units in {len(life.settles)} settlements so far",
        "rent": f"goes back to {account.rent_payer}",
        "address": f"from salt {account.salt} and slot {account.open_slot}, bump {account.bump}; "
        f"layout version {account.version}",
        **_promise_facts(promises, account.sla_hash),
    }
    click.echo(account_words(str(info.address), account, standing.now))
    click.echo("\n".join(f"{name:{_WIDTH}}{fact}" for name, fact in facts.items()))
    for right in rights(standing):
        click.echo(f"{'may':{_WIDTH}}{_right_words(right)}")
    _print_deeds(deeds)
    return findings


async def _ended(options: Options, chain: Chain, pda: Pubkey, promises: Sequence[Promise]) -> Sequence[Finding]:
    for program in options.pins.programs:
        life, deeds = await read_life(chain, pda, program)
        if deeds:
            break
    else:
        raise UnknownSessionError(f"there is no session at {pda}, and your RPC has no transaction of one", str(pda))
    life.end = life.end or End.GONE
    committed = life_committed(life)
    findings = [*life_findings(life)]
    if committed is not None:
        findings += [found for promise in promises for found in broken_promises(promise, committed)]
    if options.as_json:
        _print_json({"session": str(pda), "status": str(life.end)}, life, deeds, findings)
        return findings
    mint = await chain.account(Pubkey.from_string(life.mint)) if life.mint else None
    decimals = decode_mint(mint.data).decimals if mint else 0

    def shown(units: int | None) -> str:
        return "unknown" if units is None else format_amount(units, decimals)

    ends = {
        End.CLOSED: f"closed by {life.submitter}: settled and refunded in one transaction",
        End.WITHDRAWN: "withdrawn past the provider, after the deadline",
        End.GONE: "gone; your RPC does not have the transaction that removed it",
    }
    price = life.price_per_unit
    facts = {
        "session": str(pda),
        "status": ends[life.end],
        "payer": str(life.payer),
        "payee": str(life.payee),
        "operator": str(life.operator),
        "mode": _mode(life),
        "token": f"{life.mint}, {decimals} decimals",
        "opened": "before your RPC's history" if life.opened_at is None else moment(life.opened_at),
        "ended": "unknown" if life.ended_at is None else moment(life.ended_at),
        "price": "unknown" if price is None else f"{shown(price)} a unit" if price else "varies",
        "deposit": f"{shown(life.deposit)} = {shown(life.settled)} settled + {shown(life.refunded)} refunded",
        "charged": f"{life.charged_units} units",
        "expired": moment(life.expires_at) if life.expires_at else "never",
        "grace period": "unknown" if life.grace_period is None else f"{life.grace_period} s",
        "rent": f"went back to {life.rent_payer}",
        "address": f"from salt {life.salt} and slot {life.open_slot}",
        "SLA": _sla(life),
        "usage root": life.usage_root or "none: nobody closed it with a log",
        **_promise_facts(promises, bytes.fromhex(life.sla_hash or NO_TERMS_HASH.hex())),
    }
    click.echo("\n".join(f"{name:{_WIDTH}}{fact}" for name, fact in facts.items()))
    _print_deeds(deeds)
    return findings


def _mode(life: Life) -> str:
    if life.authorized_signer is None:
        return "unknown"
    metered = life.authorized_signer == life.operator
    return "metered: the operator named the amount" if metered else f"vouchers signed by {life.authorized_signer}"


def _sla(life: Life) -> str:
    if life.sla_hash is None:
        return "unknown"
    return "no terms" if life.sla_hash == NO_TERMS_HASH.hex() else f"terms with hash {life.sla_hash}"


def _promise_facts(promises: Sequence[Promise], committed: bytes) -> dict[str, str]:
    if not promises:
        return {} if committed == NO_TERMS_HASH else {"terms": "show them with --terms or --offer to check the hash"}
    return {"terms": "; ".join(f"{promise.source}: {terms_words(promise.sla)}" for promise in promises)}


def _right_words(right: Right) -> str:
    since = "now" if right.since is None else f"from {moment(right.since)} on"
    until = "" if right.until is None else f", until {moment(right.until)}"
    return f"{right.who}, {since}{until}: {right.may}"


def _right_json(right: Right) -> dict[str, Json]:
    return {"who": right.who, "may": right.may, "since": right.since, "until": right.until}


def _deed_words(deed: Deed) -> str:
    if deed.asked is not None:
        return DEED_WORDS[deed.asked.name]
    return f"{type(deed.event).__name__}, by another program's call"


def _print_deeds(deeds: Sequence[Deed]) -> None:
    for deed in deeds:
        at = "at an unknown time" if deed.at is None else moment(deed.at)
        click.echo(f"{'history':{_WIDTH}}{at}  {_deed_words(deed)}  {deed.signature}")


def _print_json(told: dict[str, Json], life: Life, deeds: Sequence[Deed], findings: Sequence[Finding]) -> None:
    history: list[Json] = [
        {"what": _deed_words(deed), "at": deed.at, "slot": deed.slot, "signature": deed.signature} for deed in deeds
    ]
    click.echo(
        json.dumps(
            {**told, "life": life.to_json(), "history": history, "findings": [one.to_json() for one in findings]}
        )
    )
