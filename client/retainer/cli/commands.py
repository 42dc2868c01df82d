"""The commands of `retainer`: thin, each parses, calls the client, and prints."""

import json
from datetime import timedelta
from pathlib import Path

import click
from rich.console import Console
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.sessions import read_session
from retainer.cli.ask import Question, ask_times
from retainer.cli.audit import audit
from retainer.cli.budget import budgeted
from retainer.cli.consent import consenting, yes_option
from retainer.cli.deploy import deploy_program
from retainer.cli.doctor import doctor, verify_program
from retainer.cli.failures import MEANINGS, ExitStatus, report
from retainer.cli.mcp import mcp
from retainer.cli.options import Options, address, examples, reads_chain, spends
from retainer.cli.words import account_json, account_words, ended_json, ended_words, moment, session_words
from retainer.errors import UnknownSessionError, WalletError
from retainer.flows.leaving import Leaving
from retainer.flows.preview import Consent
from retainer.flows.settlements import find_opening, find_settlement
from retainer.protocol.encoding import Json
from retainer.protocol.layouts import decode_mint
from retainer.release import tell_version
from retainer.session_client import SessionClient
from retainer.wallet import create_keypair, load_keypair

_SESSION = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"
_EXAMPLES = examples(
    "retainer keygen ~/.config/solana/id.json",
    "retainer ask https://api.example/ask --deposit 1.0",
    "retainer sessions",
    f"retainer close {_SESSION}",
)
_EXITS = "\n".join(("\b", "Exit status:", *(f"  {int(status):2}  {meaning}" for status, meaning in MEANINGS.items())))


@click.group(
    epilog=f"{_EXAMPLES}\n\n{_EXITS}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=tell_version("retainer"),
    help="Tell the release, its program's id and the SHA-256 of the program's bytes.",
)
def main() -> None:
    """Fund once, ask many: prepaid sessions for services that are paid on Solana."""


@main.command(
    epilog=examples(
        "retainer ask http://127.0.0.1:8402/ask --deposit 1.0",
        "retainer ask http://127.0.0.1:8402/ask --data @question.json --times 30",
    )
)
@click.argument("url")
@click.option("-X", "--request", "method", help="HTTP method.  [default: GET, with --data POST]")
@click.option("-d", "--data", help="Request body; @FILE reads it from a file.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="A request header.")
@click.option("--session", type=address, help="Pay from this session only.")
@click.option("--idempotency-key", help="Repeat a request under its key: it is charged once.")
@click.option("-n", "--times", type=click.IntRange(min=1), default=1, show_default=True, help="Ask so many times.")
@yes_option
@budgeted
@spends
async def ask(options: Options, **question: object) -> ExitStatus:
    """Send a request to URL, and pay for it.

    A kept session pays; where there is none, --deposit opens one, and the next `ask` uses it again. Before a deposit is
    signed, what it means is said, and you are asked if you sit at a terminal. The answer goes to stdout as it came,
    what it cost to stderr.
    """
    return await ask_times(options, Question(**question))  # type: ignore[arg-type]  # click has checked them


@main.command(epilog=examples("retainer sessions --json"))
@spends
async def sessions(options: Options) -> None:
    """List your sessions, with what is left in each."""
    async with _client(options) as client:
        known = await client.sessions()
        views = [await client.get_session(view.session_id) for view in known]
    if options.as_json:
        _print_json([view.to_json() for view in views])
    else:
        click.echo("\n".join(map(session_words, views)) or "no sessions; `retainer ask URL --deposit AMOUNT` opens one")


@main.command(epilog=examples("retainer proofs > proofs.txt", f"retainer proofs {_SESSION}"))
@click.argument("session_id", type=address, required=False)
@spends
async def proofs(options: Options, session_id: Pubkey | None) -> None:
    """Print what proves your spending to an operator that has lost its books, one line each.

    Of one session, or of all: the highest receipt and, where you sign vouchers, the newest one. It moves no money that
    you have not spent, and lets the operator settle and refund you at once.
    """
    async with _client(options) as client:
        chosen = [str(session_id)] if session_id else [view.session_id for view in await client.sessions()]
        lines = {session: await client.proofs(session) for session in chosen}
    if options.as_json:
        _print_json({session: list(told) for session, told in lines.items()})
    else:
        for told in lines.values():
            click.echo("\n".join(told), nl=bool(told))


@main.command(epilog=examples(f"retainer close {_SESSION}"))
@click.argument("session_id", type=address)
@spends
async def close(options: Options, session_id: Pubkey) -> None:
    """Have a session settled and the rest refunded.

    What was paid is read from the chain. Asking again is safe.
    """
    async with _client(options) as client:
        closed = await client.close_session(str(session_id))
    if options.as_json:
        _print_json(closed.view.to_json())
    else:
        click.echo(closed)


@main.command(epilog=examples(f"retainer top-up {_SESSION} 1.0"))
@click.argument("session_id", type=address)
@click.argument("amount")
@yes_option
@spends
async def top_up(options: Options, session_id: Pubkey, amount: str, *, yes: bool) -> None:
    """Add AMOUNT, in the token's units, to a session's deposit.

    Says what that means, and asks where you sit at a terminal, before anything is signed.
    Interrupted, the same command goes on waiting; it adds once.
    """
    async with _client(options, consenting(yes=yes, as_json=options.as_json)) as client:
        view = await client.top_up(str(session_id), amount)
    if options.as_json:
        _print_json(view.to_json())
    else:
        click.echo(session_words(view))


@main.command(epilog=examples(f"retainer request-close {_SESSION}"))
@click.argument("session_id", type=address)
@spends
async def request_close(options: Options, session_id: Pubkey) -> None:
    """Ask the chain, not the service, to close a session.

    From then on nothing can be asked from it, and after the grace period `withdraw` gets the deposit back.
    """
    async with _client(options) as client:
        leaving = await client.request_close(str(session_id))
    _tell_leaving(options, leaving)


@main.command(epilog=examples(f"retainer withdraw {_SESSION}", f"retainer withdraw {_SESSION} --no-wait"))
@click.argument("session_id", type=address)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end of the grace period.")
@spends
async def withdraw(options: Options, session_id: Pubkey, *, wait: bool) -> None:
    """Get back what is not settled, without the service.

    Shows the time that is left and waits; interrupted, it goes on when called again.
    """
    countdown = Console(stderr=True).status("waiting for the grace period")
    async with _client(options) as client:
        with countdown:
            leaving = await client.withdraw(
                str(session_id),
                waiting=(lambda left: countdown.update(f"withdrawable in {timedelta(seconds=left)}")) if wait else None,
            )
    _tell_leaving(options, leaving)


@main.command(epilog=examples(f"retainer show {_SESSION} --rpc-url https://api.devnet.solana.com"))
@click.argument("pda", type=address)
@reads_chain
async def show(options: Options, pda: Pubkey) -> None:
    """Show what the chain says about the session at PDA.

    Needs no key and asks no service.
    """
    async with options.chain() as chain:
        info = await chain.account(pda)
        if info is None:
            await _show_ended(options, chain, pda)
            return
        # A foreign account is read as one of the first pinned program, which names what is wrong with it.
        programs = options.pins.programs
        session = read_session(info, info.owner if info.owner in programs else next(iter(programs)))
        if options.as_json:
            _print_json(account_json(str(pda), session))
        else:
            click.echo(account_words(str(pda), session, await chain.block_time()))


@main.command(epilog=examples("retainer keygen ~/.config/solana/id.json"))
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout, and failures as JSON to stderr.")
def keygen(path: Path, *, as_json: bool) -> None:
    """Make a keypair, in the Solana CLI's format, at PATH.

    The file is readable by you alone, and never overwritten.
    """
    try:
        address = str(create_keypair(path).pubkey())
    except WalletError as error:
        raise SystemExit(report(error, as_json=as_json)) from None
    if as_json:
        _print_json({"address": address, "path": str(path)})
    else:
        click.echo(f"{address}\nwritten to {path}")


async def _show_ended(options: Options, chain: Chain, pda: Pubkey) -> None:
    for program in options.pins.programs:
        settlement = await find_settlement(chain, pda, program)
        opened = await find_opening(chain, pda, program)
        if settlement is None or opened is None:
            continue
        mint = await chain.account(opened.mint)
        decimals = decode_mint(mint.data).decimals if mint else 0
        if options.as_json:
            _print_json(ended_json(str(pda), opened, settlement))
        else:
            click.echo(ended_words(str(pda), opened, settlement, decimals))
        return
    raise UnknownSessionError(f"there is no session at {pda}, and none that has ended is known", str(pda))


def _tell_leaving(options: Options, leaving: Leaving) -> None:
    ended = leaving.settlement
    if options.as_json:
        _print_json(
            {
                "signature": leaving.signature,
                "availableAt": leaving.available_at,
                "settled": None if ended is None else str(ended.settled),
                "refunded": None if ended is None else str(ended.refunded),
            }
        )
    elif ended is None and leaving.available_at is not None:
        click.echo(f"closing: `retainer withdraw` gets the deposit back from {moment(leaving.available_at)} on")
    else:
        click.echo(f"gone, and what was not settled has come back · transaction {leaving.signature}")


def _client(options: Options, consent: Consent | None = None) -> SessionClient:
    return SessionClient(
        load_keypair(options.keypair),
        rpc_url=options.rpc_url,
        pins=options.pins,
        store=options.keeper(),
        consent=consent,
    )


def _print_json(value: Json) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


for command in (audit, deploy_program, doctor, mcp, verify_program):
    main.add_command(command)
