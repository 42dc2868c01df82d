"""`retainer-provider export`: a session's usage log, for auditors."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import click
from solders.pubkey import Pubkey

from retainer.protocol.usage_log import LogHeader, entry_line
from retainer_provider.books.stores.chosen import reading
from retainer_provider.books.terms import session_terms
from retainer_provider.cli.common import NotFoundError, config_option, examples, settings_of, told
from retainer_provider.settings import Settings

_PAGE = 1000


@click.command(epilog=examples("export SESSION_ID > usage.jsonl"))
@config_option
@click.argument("session_id")
@told
def export(config: Path, session_id: str) -> None:
    """Write a session's usage log to stdout, as JSON Lines: what was agreed, then one line per metered request.

    Also while the service runs. `retainer audit settlement` checks it against the chain.
    """
    asyncio.run(_write(settings_of(config), session_id))


async def _write(settings: Settings, session_id: str) -> None:
    async for line in _lines(settings, session_id):
        click.echo(line)


async def _lines(settings: Settings, session_id: str) -> AsyncIterator[str]:
    async with reading(settings) as ledger:
        record = await ledger.session(session_id)
        if record is None:
            raise NotFoundError(f"there is no session {session_id} in the books: see `retainer-provider sessions`")
        terms = session_terms(record)
        yield LogHeader(Pubkey.from_string(session_id), record.operator, record.price, terms).line()
        if record.sequence and not await ledger.usage(session_id, limit=1):
            raise NotFoundError(f"the usage log of {session_id} has left the books: see {settings.ledger.archive}")
        after = 0
        while page := await ledger.usage(session_id, after=after, limit=_PAGE):
            for entry in page:
                yield entry_line(entry)
            after = page[-1].sequence
