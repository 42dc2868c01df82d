"""`retainer-provider init`."""

import secrets
from importlib import resources
from pathlib import Path
from string import Template

import click
from solders.keypair import Keypair

from retainer_provider.catalog import load_offers
from retainer_provider.cli.common import DEFAULT_CONFIG, told
from retainer_provider.keys import keypair_text, load_keypair, write_private
from retainer_provider.settings import SettingsError, load_settings

_RPC_URLS = {
    "localnet": "http://127.0.0.1:8899",
    "devnet": "https://api.devnet.solana.com",
    "mainnet": "https://api.mainnet-beta.solana.com",
}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--realm", required=True, help="This service's own name, such as api.your-domain.org.")
@click.option("--network", type=click.Choice(list(_RPC_URLS)), default="localnet", show_default=True)
@click.option("--rpc-url", help="The Solana node; the network's public one by default.")
@click.option("--mint", required=True, help="The token that the offer is priced in.")
@click.option("--decimals", type=click.IntRange(0, 9), default=6, show_default=True, help="The token's decimals.")
@click.option("--price", default="0.008", show_default=True, help="Of one request, in the token's units.")
@click.option(
    "--upstream", default="http://127.0.0.1:9000", show_default=True, help="Where the metered service listens."
)
@told
def init(folder: Path, **chosen: str | int | None) -> None:
    """Write commented settings, an operator key and a challenge secret into FOLDER; nothing is overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    config, key, secret = folder / DEFAULT_CONFIG, folder / "operator.json", folder / "challenge.secret"
    if config.exists():
        raise SettingsError(f"{config} is there already: edit it, or choose another folder")
    template = resources.files("retainer_provider") / "cli" / "settings.toml.in"
    rpc_url = chosen.pop("rpc_url") or _RPC_URLS[str(chosen["network"])]
    config.write_text(Template(template.read_text("utf-8")).substitute(chosen, rpc_url=rpc_url), encoding="utf-8")
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
