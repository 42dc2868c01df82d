"""`retainer mcp`: paid services as tools of an agent that speaks the Model Context Protocol."""

from importlib.util import find_spec

import click
import httpx

from retainer.cli.budget import Budget, budgeted, budgeted_client
from retainer.cli.options import Options, examples, spends
from retainer.errors import OfferError
from retainer.mcp.tools import PaidTool, described, named_tool, priced_tools
from retainer.protocol.amounts import format_amount
from retainer.protocol.tokens import token_symbol
from retainer.session_client import SessionClient

_DOCUMENT = "/openapi.json"
_ASK_SECONDS = 15.0


@click.command(
    epilog=examples(
        "retainer mcp https://api.example --deposit 0.5 --max-per-day 2.0",
        "retainer mcp --tool 'ask=POST https://api.example/ask' --deposit 0.5 --max-per-day 2.0 --cluster mainnet",
    )
)
@click.argument("services", metavar="[SERVICE]...", nargs=-1)
@click.option(
    "--tool",
    "named",
    multiple=True,
    metavar="NAME=METHOD URL",
    help="A priced address to offer as a tool; may be given several times.",
)
@budgeted
@spends
async def mcp(options: Options, budget: Budget, services: tuple[str, ...], named: tuple[str, ...]) -> None:
    """Offer paid services to an agent as MCP tools, over stdin and stdout.

    The tools are what each SERVICE prices in its OpenAPI document, and what --tool names. A model decides what is
    called, so --max-per-day must bound what it can spend; a call beyond that is refused, and costs nothing. A session
    opens with --deposit, and gets as much again (or --top-up) when it is empty. Sessions stay open for the next run;
    `retainer sessions` lists them, `retainer close` gets the rest back.
    """
    if find_spec("mcp") is None:
        raise click.UsageError('this needs an extra: pip install "retainer[mcp]"')
    from mcp.server.stdio import stdio_server  # noqa: PLC0415 - an extra

    from retainer.mcp.server import paid_server  # noqa: PLC0415 - it needs the extra

    async with budgeted_client(options, budget.without_asking()) as client:
        tools = [tool for service in services for tool in await _discovered(service)]
        tools += [await _priced(client, text) for text in named]
        if not tools:
            raise click.UsageError("name a SERVICE whose prices become tools, or a --tool NAME=METHOD URL")
        server = paid_server(client, tools)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())


async def _discovered(service: str) -> list[PaidTool]:
    url = service.rstrip("/").removesuffix(_DOCUMENT)
    async with httpx.AsyncClient(timeout=_ASK_SECONDS) as http:
        answer = await http.get(url + _DOCUMENT)
    try:
        document = answer.raise_for_status().json()
    except (httpx.HTTPStatusError, ValueError):
        raise OfferError(f"{url}{_DOCUMENT} is no OpenAPI document; name the tools with --tool") from None
    return priced_tools(document, url)


async def _priced(client: SessionClient, text: str) -> PaidTool:
    try:
        tool = named_tool(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    offer = (await client.offers(tool.url, method=tool.method))[0]
    symbol = token_symbol(offer.request.currency) or str(offer.request.currency)
    price = format_amount(offer.request.amount * offer.max_units, offer.request.decimals)
    return described(tool, f"{price} {symbol} a call at most")
