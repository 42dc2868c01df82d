"""`retainer-provider check`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import click

from retainer.chain.findings import Finding
from retainer.chain.several import connect
from retainer_provider.blueprint import service_identity
from retainer_provider.catalog import load_offers
from retainer_provider.checks.machine import check_machine
from retainer_provider.checks.onchain import check_announcements, check_node, check_service
from retainer_provider.checks.panel import check_panel
from retainer_provider.cli.common import ExitStatus, config_option, examples, json_option, print_json, settings_of, told
from retainer_provider.clock import SystemClock
from retainer_provider.keys import load_keys, require_refund_key, wrong_keys
from retainer_provider.settings import Settings, SettingsError
from retainer_provider.wire.routing import RouteTable


@click.command(epilog=examples("check", "check --config /etc/retainer/retainer.toml --json"))
@config_option
@json_option
@told
def check(config: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """See whether the service can run: settings, keys, panel, books, disk, upstream, nodes, program, tokens, SOL."""
    findings, status = asyncio.run(_collected(config, as_json=as_json))
    if as_json:
        print_json({"findings": [{"name": f.name, "ok": f.ok, "sentence": f.sentence} for f in findings]})
    sys.exit(status)


async def _collected(config: Path, *, as_json: bool) -> tuple[list[Finding], ExitStatus]:
    found: list[Finding] = []
    try:
        async for finding in _findings(settings_of(config)):
            found.append(finding)
            if not as_json:
                _show(finding)
    except SettingsError as error:  # nothing more can be looked at
        found.append(Finding("settings", ok=False, sentence=str(error)))
        if not as_json:
            _show(found[-1])
        return found, ExitStatus.SETTINGS
    return found, ExitStatus.DONE if all(finding.ok for finding in found) else ExitStatus.NOT_RIGHT


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    wrong = wrong_keys(settings.service)
    for name, sentence in wrong.items():
        yield Finding(name, ok=False, sentence=sentence)
    if wrong:
        load_offers(settings.offers)
        async for finding in check_machine(settings):
            yield finding
        raise SettingsError("without keys neither node nor program can be looked at: mend what is wrong above")
    keys, offers = load_keys(settings.service), load_offers(settings.offers)
    require_refund_key(keys, offers.values())
    routes = RouteTable(offers, settings.routes.free)
    yield Finding("settings", ok=True, sentence=f"offers ({', '.join(offers)}), keys and challenge secret are in order")
    panel = check_panel(settings, offers, lambda path: routes.find(path.encode()))
    if panel is not None:
        yield panel
    async for finding in check_machine(settings):
        yield finding
    identity, urls = service_identity(settings, keys), settings.service.rpc_urls
    for url in urls:
        # Each by itself: together they would hide the one that is down.
        async with connect([url]) as node:
            async for finding in check_node(identity, node, urlsplit(url).hostname or "", SystemClock()):
                yield finding
    if settings.service.ws_url is not None:
        yield await check_announcements(identity, settings.service.ws_url)
    async with connect(urls, quorum=settings.service.rpc_quorum) as chain:
        async for finding in check_service(identity, offers, chain):
            yield finding


def _show(finding: Finding) -> None:
    mark = click.style("ok   ", fg="green") if finding.ok else click.style("WRONG", fg="red")
    click.echo(f"{mark} {finding.name}: {finding.sentence}")
