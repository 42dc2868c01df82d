"""`retainer-provider check`."""

import asyncio
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from retainer.chain.several import connect
from retainer_provider.assembly import service_identity
from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.chosen import check_ledger
from retainer_provider.catalog import load_offers
from retainer_provider.checks import Finding, check_node, check_service
from retainer_provider.cli.common import ExitStatus, config_option, json_option, print_json, settings_of, told
from retainer_provider.keys import load_keys, require_refund_key
from retainer_provider.settings import Settings
from retainer_provider.wire.routing import RouteTable


@click.command()
@config_option
@json_option
@told
def check(config: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """See whether the service can run: settings, keys, ledger, node, program, tokens, balances."""
    settings = settings_of(config)
    findings = asyncio.run(_findings(settings, as_json=as_json))
    if as_json:
        print_json({"findings": [{"name": f.name, "ok": f.ok, "sentence": f.sentence} for f in findings]})
    sys.exit(ExitStatus.DONE if all(finding.ok for finding in findings) else ExitStatus.NOT_RIGHT)


async def _findings(settings: Settings, *, as_json: bool) -> list[Finding]:
    keys, offers = load_keys(settings.service), load_offers(settings.offers)
    require_refund_key(keys, offers.values())
    RouteTable(offers, settings.routes.free)
    found = [
        Finding("settings", ok=True, sentence=f"offers ({', '.join(offers)}), keys and challenge secret are in order")
    ]
    _show(found[0], as_json=as_json)
    found.append(await _ledger(settings))
    _show(found[-1], as_json=as_json)
    identity, urls = service_identity(settings, keys), settings.service.rpc_urls
    for url in urls:
        # Each by itself: together they would hide the one that is down.
        async with connect([url]) as node:
            found.append(await check_node(identity, node, urlsplit(url).hostname or ""))
            _show(found[-1], as_json=as_json)
    async with connect(urls, quorum=settings.service.rpc_quorum) as chain:
        async for finding in check_service(identity, offers, chain):
            found.append(finding)
            _show(finding, as_json=as_json)
    return found


async def _ledger(settings: Settings) -> Finding:
    try:
        return Finding("ledger", ok=True, sentence=await check_ledger(settings))
    except LedgerError as error:
        return Finding("ledger", ok=False, sentence=str(error))


def _show(finding: Finding, *, as_json: bool) -> None:
    if not as_json:
        mark = click.style("ok   ", fg="green") if finding.ok else click.style("WRONG", fg="red")
        click.echo(f"{mark} {finding.name}: {finding.sentence}")
