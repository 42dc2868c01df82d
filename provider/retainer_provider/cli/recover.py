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
from retainer.protocol.timestamps import format_timestamp
from retainer_provider.blueprint import service_identity
from retainer_provider.books.stores.chosen import open_ledger, reading
from retainer_provider.catalog import load_offers
from retainer_provider.cli.common import ExitStatus, config_option, json_option, print_json, settings_of, told
from retainer_provider.clock import SystemClock
from retainer_provider.keys import load_keys
from retainer_provider.logs import configure_logging
from retainer_provider.policy import settler_options
from retainer_provider.settings import Settings
from retainer_provider.settling.adopting import bring_back, lost_sessions
from retainer_provider.settling.proofs import read_proofs
from retainer_provider.settling.recovery import Finding, Recovery
from retainer_provider.settling.settler import SettlementOutcome, Settler

_NO_ACCOUNT = (
    "Sessions of the custodial offers ({offers}) have no account on chain and are not among these. Their deposits, and "
    "the refunds that were made, are transfers of the payee's token account, each of which names its session: send "
    "back by hand what is left by the last receipt that its agent shows, which your operator key must have signed."
)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@config_option
@json_option
@click.option("--receipts", type=_FOLDER, help="A folder of what agents presented: files that `retainer proofs` wrote.")
@click.option("--refund", is_flag=True, help="Also close, and refund, sessions for which nothing proves a charge.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done; the database is not touched.")
@told
def recover(config: Path, as_json: bool, receipts: Path | None, refund: bool, dry_run: bool) -> None:  # noqa: FBT001 - click
    """Rebuild sessions from the chain and from agents' proofs, after the database was lost, and settle them.

    Lists every session on chain that this operator may settle and that the books do not know. One with a receipt is
    settled for what the receipt proves, and the rest refunded. One without is left to its expiry, in case its agent
    still comes, or refunded at once with --refund. Running it again does nothing twice.
    """
    settings = settings_of(config)
    configure_logging(settings.service.log_level, settings.service.log_format)
    custodial = [offer.id for offer in load_offers(settings.offers).values() if not offer.anchor_on_chain]
    found, worthless, outcomes = asyncio.run(_recover(settings, receipts, refund=refund, dry_run=dry_run))
    if as_json:
        sessions: list[Json] = [_json(one, outcomes) for one in found]
        print_json({"sessions": sessions, "worthlessProofs": worthless, "custodialOffers": [*custodial]})
    else:
        for one in found:
            click.echo(_words(one, outcomes))
        click.echo(_sum(found, worthless, dry_run=dry_run))
        if custodial:
            click.echo(_NO_ACCOUNT.format(offers=", ".join(custodial)))
    whole = all(outcome.is_end for outcome in outcomes.values())
    contradicted = any(one.finding is Finding.CONTRADICTED for one in found)
    sys.exit(ExitStatus.NOT_RIGHT if contradicted or not whole else ExitStatus.DONE)


async def _recover(
    settings: Settings, folder: Path | None, *, refund: bool, dry_run: bool
) -> tuple[list[Recovery], int, Mapping[Pubkey, SettlementOutcome]]:
    keys = load_keys(settings.service)
    identity, operator = service_identity(settings, keys), keys.operator
    receipts, vouchers = read_proofs(folder) if folder else ([], [])
    async with connect(settings.service.rpc_urls, quorum=settings.service.rpc_quorum) as chain:
        found, worthless = await lost_sessions(chain, operator.pubkey(), identity.program_id, receipts, vouchers)
        if dry_run:
            return await _unknown(settings, found), worthless, {}
        clock, offers = SystemClock(), load_offers(settings.offers)
        ledger = await open_ledger(settings)
        try:
            found = [one for one in found if await ledger.session(str(one.session)) is None]
            chosen = [one for one in found if one.finding is Finding.RECOVERED or (refund and one.refundable)]
            options = settler_options(settings, identity)
            settler = Settler(
                chain=chain, ledger=ledger, operator=operator, clock=clock, timer=SystemTimer(), options=options
            )
            return found, worthless, await bring_back(chain, ledger, settler, chosen, offers=offers, now=clock.now())
        finally:
            await ledger.aclose()


async def _unknown(settings: Settings, found: list[Recovery]) -> list[Recovery]:
    """Those that the books do not know, where there are books."""
    if settings.ledger.url is None and not settings.service.database.exists():
        return found
    async with reading(settings) as books:
        return [one for one in found if await books.session(str(one.session)) is None]


def _words(one: Recovery, outcomes: Mapping[Pubkey, SettlementOutcome]) -> str:
    decimals = one.account.decimals
    deposit, spent = format_amount(one.account.deposit, decimals), format_amount(one.spent, decimals)
    line = f"{one.session}  {one.finding:<12}  proven {spent} of {deposit}: {one.why}"
    outcome = outcomes.get(one.session)
    if outcome is None:
        return f"{line}; {_left_to(one)}" if one.finding is Finding.UNPROVEN else line
    refunded = outcome is SettlementOutcome.SETTLED and one.finding is Finding.UNPROVEN
    return f"{line}; {'refunded' if refunded else outcome}"


def _left_to(one: Recovery) -> str:
    deadline = one.account.deadline()
    if deadline is None:
        return "refunded once its payer asks the chain to close it, or now with --refund"
    return f"refunded from {format_timestamp(deadline)} on, or now with --refund"


def _sum(found: list[Recovery], worthless: int, *, dry_run: bool) -> str:
    counts = {finding: sum(one.finding is finding for one in found) for finding in Finding}
    words = ", ".join(f"{count} {finding}" for finding, count in counts.items() if count) or "none"
    ignored = f"; {worthless} proofs are forged, or of sessions that are not on chain" if worthless else ""
    again = "; nothing was done" if dry_run else ""
    return f"{len(found)} session{'' if len(found) == 1 else 's'} that the books do not know: {words}{ignored}{again}"


def _json(one: Recovery, outcomes: Mapping[Pubkey, SettlementOutcome]) -> dict[str, Json]:
    outcome = outcomes.get(one.session)
    return {
        "sessionId": str(one.session),
        "payer": str(one.account.payer),
        "finding": str(one.finding),
        "why": one.why,
        "deposit": str(one.account.deposit),
        "spent": str(one.spent),
        "outcome": None if outcome is None else str(outcome),
    }
