"""`retainer-provider recover`: after the database was lost, what chain and agents' proofs give back."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from solders.pubkey import Pubkey

from retainer.chain.confirm import SystemTimer
from retainer.chain.several import connect
from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.receipts import Receipt
from retainer_provider.background import refund_step
from retainer_provider.blueprint import service_identity
from retainer_provider.books.records import Custody
from retainer_provider.books.stores.chosen import open_ledger, reading
from retainer_provider.catalog import load_offers
from retainer_provider.cli.common import ExitStatus, config_option, examples, json_option, print_json, settings_of, told
from retainer_provider.clock import SystemClock
from retainer_provider.keys import load_keys
from retainer_provider.logs import configure_logging
from retainer_provider.policy import settler_options
from retainer_provider.settings import Settings
from retainer_provider.settling.adopting import bring_back, lost_sessions
from retainer_provider.settling.held_recovery import HeldRecovery
from retainer_provider.settling.held_search import HeldSearch, known_receipts, outlive_lost_refunds
from retainer_provider.settling.proofs import read_proofs
from retainer_provider.settling.recovery import Finding, Recovery
from retainer_provider.settling.settler import SettlementOutcome, Settler

_Found = Recovery | HeldRecovery
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    epilog=examples(
        "recover --receipts presented/ --dry-run",
        "recover --receipts presented/",
        "recover --receipts presented/ --refund --json",
    )
)
@config_option
@json_option
@click.option("--receipts", type=_FOLDER, help="A folder of what agents presented: files that `retainer proofs` wrote.")
@click.option("--refund", is_flag=True, help="Also close, and refund, sessions for which nothing proves a charge.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done; the database is not touched.")
@told
def recover(config: Path, as_json: bool, receipts: Path | None, refund: bool, dry_run: bool) -> None:  # noqa: FBT001 - click
    """Rebuild sessions from the chain and from agents' proofs, after the database was lost, and settle them.

    Lists every session on chain that this operator may settle and that the books do not know; where an offer is
    custodial, also those whose deposits the payee's token account received. One with a receipt is settled for what the
    receipt proves, and the rest refunded. One without is left alone, in case its agent still comes, or refunded at
    once with --refund. Running it again does nothing twice. Keep the service stopped meanwhile.
    """
    settings = settings_of(config)
    configure_logging(settings.service.log_level, settings.service.log_format)
    found, worthless, outcomes = asyncio.run(_recover(settings, receipts, refund=refund, dry_run=dry_run))
    if as_json:
        sessions: list[Json] = [_json(one, outcomes) for one in found]
        print_json({"sessions": sessions, "worthlessProofs": worthless})
    else:
        for one in found:
            click.echo(_words(one, outcomes))
        click.echo(_sum(found, worthless, dry_run=dry_run))
    whole = all(outcome.is_end for outcome in outcomes.values())
    contradicted = any(one.finding is Finding.CONTRADICTED for one in found)
    sys.exit(ExitStatus.NOT_RIGHT if contradicted or not whole else ExitStatus.DONE)


async def _recover(
    settings: Settings, folder: Path | None, *, refund: bool, dry_run: bool
) -> tuple[list[_Found], int, Mapping[Pubkey, SettlementOutcome]]:
    keys, offers = load_keys(settings.service), load_offers(settings.offers)
    identity, operator = service_identity(settings, keys), keys.operator
    receipts, vouchers = read_proofs(folder) if folder else ([], [])
    async with connect(settings.service.rpc_urls, quorum=settings.service.rpc_quorum) as chain:
        escrowed, worthless = await lost_sessions(chain, operator.pubkey(), identity.program_id, receipts, vouchers)
        custodial = [offer for offer in offers.values() if not offer.anchor_on_chain]
        search = HeldSearch(chain=chain, payee=identity.payee, operator=identity.operator, offers=custodial)
        held = await search.sessions(receipts, _read)
        worthless -= known_receipts(receipts, held, search)
        found: list[_Found] = [*escrowed, *held]
        if dry_run:
            return await _unknown(settings, found), worthless, {}
        clock, timer = SystemClock(), SystemTimer()
        ledger = await open_ledger(settings)
        try:
            found = [one for one in found if await ledger.session(str(one.session)) is None]
            if any(_is_chosen(one, refund=refund) for one in found if isinstance(one, HeldRecovery)):
                await outlive_lost_refunds(chain, timer, _waiting)
                found = [await _again(one, search, receipts) for one in found]
            options = settler_options(settings, identity)
            settler = Settler(
                chain=chain,
                ledger=ledger,
                operator=operator,
                clock=clock,
                timer=timer,
                options=options,
                refund=refund_step(keys, chain, ledger, clock, options.costs),
            )
            chosen = [one for one in found if _is_chosen(one, refund=refund)]
            outcomes = await bring_back(chain, ledger, settler, chosen, us=identity, offers=offers, now=clock.now())
            return found, worthless, outcomes
        finally:
            await ledger.aclose()


def _is_chosen(one: _Found, *, refund: bool) -> bool:
    return one.finding is Finding.RECOVERED or (refund and one.refundable)


async def _again(one: _Found, search: HeldSearch, receipts: list[Receipt]) -> _Found:
    return await search.session(one.session, one.held.offer, receipts) if isinstance(one, HeldRecovery) else one


def _read(transactions: int) -> None:
    click.echo(f"read {transactions} transactions of the payee's token accounts", err=True)


def _waiting(blocks: int) -> None:
    click.echo(f"{blocks} blocks until no refund of the lost books can land any more; a block is 0.4 s", err=True)


async def _unknown(settings: Settings, found: list[_Found]) -> list[_Found]:
    """Those that the books do not know, where there are books."""
    if settings.ledger.url is None and not settings.service.database.exists():
        return found
    async with reading(settings) as books:
        return [one for one in found if await books.session(str(one.session)) is None]


def _words(one: _Found, outcomes: Mapping[Pubkey, SettlementOutcome]) -> str:
    deposit, spent = format_amount(one.deposit, one.decimals), format_amount(one.spent, one.decimals)
    line = f"{one.session}  {one.finding:<12}  proven {spent} of {deposit}: {one.why}"
    outcome = outcomes.get(one.session)
    if outcome is None:
        return f"{line}; {one.left_to}, or refunded now with --refund" if one.finding is Finding.UNPROVEN else line
    refunded = outcome is SettlementOutcome.SETTLED and one.finding is Finding.UNPROVEN
    return f"{line}; {'refunded' if refunded else outcome}"


def _sum(found: list[_Found], worthless: int, *, dry_run: bool) -> str:
    counts = {finding: sum(one.finding is finding for one in found) for finding in Finding}
    words = ", ".join(f"{count} {finding}" for finding, count in counts.items() if count) or "none"
    proofs = "1 proof is" if worthless == 1 else f"{worthless} proofs are"
    ignored = f"; {proofs} forged, or of sessions that are not on chain" if worthless else ""
    again = "; nothing was done" if dry_run else ""
    return f"{len(found)} session{'' if len(found) == 1 else 's'} that the books do not know: {words}{ignored}{again}"


def _json(one: _Found, outcomes: Mapping[Pubkey, SettlementOutcome]) -> dict[str, Json]:
    outcome = outcomes.get(one.session)
    return {
        "sessionId": str(one.session),
        "payer": str(one.payer),
        "custody": str(Custody.PROVIDER if isinstance(one, HeldRecovery) else Custody.ESCROW),
        "finding": str(one.finding),
        "why": one.why,
        "deposit": str(one.deposit),
        "spent": str(one.spent),
        "outcome": None if outcome is None else str(outcome),
    }
