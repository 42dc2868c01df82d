"""`retainer-provider init`."""

import secrets
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final

import click
from click.core import ParameterSource
from solders.keypair import Keypair

from retainer.chain.clusters import RPC_URLS
from retainer.protocol.amounts import format_amount, parse_amount
from retainer.protocol.constants import PROGRAM_ID, Network
from retainer.protocol.errors import AmountError
from retainer_provider.catalog import load_offers
from retainer_provider.cli.common import DEFAULT_CONFIG, examples, told
from retainer_provider.keys import keypair_text, load_keypair, write_private
from retainer_provider.settings import SettingsError, load_settings

# Of requests: what a session opens with when the agent has no opinion, and the least.
_SUGGESTED_REQUESTS: Final = 125
_FEWEST_REQUESTS: Final = 10


@click.command(
    epilog=examples("init", "init /etc/retainer --realm api.your-domain.org --network devnet --mint MINT --price 0.002")
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--realm", help="This service's own name, such as api.your-domain.org.")
@click.option("--network", type=click.Choice([*map(str, Network)]), default="localnet", show_default=True)
@click.option("--rpc-url", help="The Solana node; the network's public one by default.")
@click.option(
    "--program-id",
    default=str(PROGRAM_ID),
    show_default=True,
    help="The session program; name your own if you deployed it.",
)
@click.option("--mint", help="The token that the offer is priced in.")
@click.option("--decimals", type=click.IntRange(0, 9), default=6, show_default=True, help="The token's decimals.")
@click.option("--price", default="0.008", show_default=True, help="Of one request, in the token's units.")
@click.option(
    "--upstream", default="http://127.0.0.1:9000", show_default=True, help="Where the metered service listens."
)
@told
def init(folder: Path, **chosen: str | int | None) -> None:
    """Write commented settings, an operator key and a challenge secret into FOLDER; nothing is overwritten.

    Asks its five questions (cluster, name, token, price, upstream) unless --realm and --mint answer them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, key, secret = folder / DEFAULT_CONFIG, folder / "operator.json", folder / "challenge.secret"
    if config.exists():
        raise SettingsError(f"{config} is there already: edit it, or choose another folder")
    if chosen["realm"] is None or chosen["mint"] is None:
        chosen |= _asked(chosen)
    template = resources.files("retainer_provider") / "cli" / "settings.toml.in"
    chosen["rpc_url"] = chosen["rpc_url"] or RPC_URLS[Network(str(chosen["network"]))]
    chosen |= _deposits(str(chosen["price"]), int(chosen["decimals"] or 0))
    config.write_text(Template(template.read_text("utf-8")).substitute(chosen), encoding="utf-8")
    try:
        if not key.exists():
            write_private(key, keypair_text(Keypair()))
        if not secret.exists():
            write_private(secret, secrets.token_hex(32) + "\n")
        load_offers(load_settings(config, {}).offers)
        operator = load_keypair(key).pubkey()
    except SettingsError:
        config.unlink()
        raise
    click.echo(f"wrote {config}, {key} and {secret}")
    click.echo(f"operator and payee: {operator}. Send it a little SOL for settlements, then: retainer-provider check")


def _asked(given: Mapping[str, str | int | None]) -> dict[str, str]:
    """The answers to what no flag has answered."""
    answers, context = {}, click.get_current_context()
    try:
        for name, question in _QUESTIONS.items():
            if context.get_parameter_source(name) is ParameterSource.DEFAULT:
                kind = click.Choice([*map(str, Network)]) if name == "network" else str
                answers[name] = str(click.prompt(question, default=given[name], type=kind))
    except click.Abort:
        raise click.UsageError("answer the questions, or give --realm and --mint") from None
    return answers


_QUESTIONS: Final = {
    "network": "Which cluster",
    "realm": "This service's own name, such as api.your-domain.org",
    "mint": "The token's mint",
    "price": "Price of one request, in the token's units",
    "upstream": "Where the service listens that you sell",
}


def _deposits(price: str, decimals: int) -> dict[str, str]:
    """What to suggest and the least to take, for a price in the token's units."""
    try:
        units = parse_amount(price, decimals)
        return {
            "suggested_deposit": format_amount(_SUGGESTED_REQUESTS * units, decimals),
            "minimum_deposit": format_amount(_FEWEST_REQUESTS * units, decimals),
        }
    except AmountError as error:
        raise SettingsError(f"the price {price!r} is no amount of the token: {error}") from None
