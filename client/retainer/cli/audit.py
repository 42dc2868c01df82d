"""`retainer audit`: questions that are answered without trusting the provider."""

import json
from pathlib import Path

import click

from retainer.audit.reading import read_onchain, read_receipts
from retainer.audit.settlement import OnChain, Sums, audit_settlement
from retainer.audit.witnessed import contradicted
from retainer.cli.audit_provider import provider
from retainer.cli.audit_session import session
from retainer.cli.failures import ExitStatus
from retainer.cli.options import Options, examples, reads_chain
from retainer.protocol.amounts import format_amount
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.encoding import Json
from retainer.protocol.layouts import decode_mint
from retainer.protocol.usage_log import read_log
from retainer.stores.receipts import read_kept

_LOG = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """Check a provider against the chain, its own log, and the receipts that it signed."""


audit.add_command(session)
audit.add_command(provider)


@audit.command(
    epilog=examples(
        "retainer audit settlement SIGNATURE --log usage.jsonl",
        "retainer audit settlement SIGNATURE --log usage.jsonl --receipts receipts/",
    )
)
@click.argument("signature")
@click.option(
    "--log", type=_LOG, required=True, help="The session's usage log, as `retainer-provider export` writes it."
)
@click.option("--receipts", type=_FOLDER, help="A folder of receipts that the agent kept.")
@reads_chain
async def settlement(options: Options, signature: str, log: Path, receipts: Path | None) -> ExitStatus:
    """Check that the settlement SIGNATURE paid exactly what was used.

    The log is held against the hash that the settlement committed on chain, each verdict is judged again from the
    logged numbers, and every receipt is matched with its line. Exit status 8 where something contradicts.
    """
    chain = options.chain()
    try:
        program = options.programs[0] if options.programs else PROGRAM_ID
        onchain = await read_onchain(chain, signature, program)
        mint = await chain.account(onchain.closed.mint)
    finally:
        await chain.aclose()
    kept, sums = read_receipts(receipts, onchain.opened.session) if receipts else {}, Sums()
    with log.open(encoding="utf-8") as lines:
        header, entries = read_log(lines)
        findings = list(audit_settlement(onchain, header, entries, kept, sums))
    if receipts:
        findings += contradicted(read_kept(receipts, str(onchain.opened.session)), header.sla)
    told: dict[str, Json] = {
        "session": str(onchain.opened.session),
        "requests": sums.requests,
        "free": sums.free,
        "creditUnits": sums.credit_units,
        "shortWindows": sums.short_windows,
        "receipts": len(sums.receipts),
        "unreceipted": sums.unreceipted,
        "deposit": str(onchain.closed.deposit),
        "settled": str(onchain.closed.settled),
        "refunded": str(onchain.closed.refunded),
        "findings": [found.to_json() for found in findings],
    }
    if options.as_json:
        click.echo(json.dumps(told))
    else:
        _print(onchain, sums, 0 if mint is None else decode_mint(mint.data).decimals)
        for found in findings:
            click.echo(f"{click.style('WRONG', fg='red')} {found}")
        if not findings:
            click.echo(click.style("The settlement paid exactly what the log says was used.", fg="green"))
            if not sums.receipts:
                click.echo("Without the agent's receipts, nothing here shows that the log's numbers are true.")
    return ExitStatus.DISHONEST if findings else ExitStatus.OK


def _print(onchain: OnChain, sums: Sums, decimals: int) -> None:
    closed = onchain.closed

    def shown(units: int) -> str:
        return format_amount(units, decimals)

    facts = {
        "session": str(closed.session),
        "payee": str(closed.payee),
        "deposit": f"{shown(closed.deposit)} = {shown(closed.settled)} settled + {shown(closed.refunded)} refunded",
        "log": f"{sums.requests} requests, {sums.free} of them free, {shown(sums.amount)} in all",
        "usage root": closed.usage_root.hex(),
        "receipts": f"{len(sums.receipts)} matched with their lines",
    }
    if sums.receipts and sums.unreceipted:
        # Nobody signs that a request was not made: only an agent that keeps all its receipts can tell.
        facts["no receipt"] = (
            f"for {sums.unreceipted} charged requests: an agent that kept all of its receipts never made them"
        )
    if sums.credit_units:
        facts["credit"] = f"{sums.credit_units} units given back for {sums.short_windows} windows of low availability"
    for name, value in facts.items():
        click.echo(f"{name:<12} {value}")
