"""`retainer deploy-program`: the released program on a cluster that does not have it."""

import asyncio
import json
from pathlib import Path

import click
from rich.console import Console

from retainer.chain.deploying import Deployment
from retainer.chain.findings import lamports_of, sol
from retainer.cli.failures import ExitStatus
from retainer.cli.options import Options, examples, keypair_option, reads_chain
from retainer.errors import WalletError
from retainer.release import program_bytes
from retainer.wallet import load_keypair


@click.command(
    epilog=examples(
        "retainer deploy-program program.json --cluster devnet",
        "retainer deploy-program program.json --so session_escrow.so --keypair upgrader.json --cluster devnet",
    )
)
@click.argument("program_key", type=click.Path(path_type=Path))
@click.option(
    "--so",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The bytes to deploy.  [default: the ones that this release brings]",
)
@keypair_option
@reads_chain
async def deploy_program(options: Options, program_key: Path, so: Path | None) -> ExitStatus | None:
    """Deploy the program of this release at the address of PROGRAM_KEY, a keypair file (`retainer keygen` makes one).

    --keypair pays its rent, about 0.8 SOL, and may upgrade it from then on. Interrupted, the same command goes on.
    """
    payer, program = load_keypair(options.keypair), load_keypair(program_key)
    code = program_bytes(program.pubkey()) if so is None else await asyncio.to_thread(so.read_bytes)
    status = Console(stderr=True).status("looking")
    async with options.chain() as chain:
        deployment = Deployment(chain, payer, program, code)
        needed, held = await deployment.lamports_needed(), await lamports_of(chain, payer.pubkey())
        if held < needed and await chain.account(program.pubkey()) is None:
            raise WalletError(f"{payer.pubkey()} has {sol(held)}, and deploying takes {sol(needed)}; nothing was sent")
        with status:
            signature = await deployment.run(lambda done, every: status.update(f"written: {done} of {every} pieces"))
    if options.as_json:
        click.echo(json.dumps({"program": str(program.pubkey()), "signature": signature}, indent=2))
    elif signature is None:
        click.echo(f"{program.pubkey()} is deployed already, with just these bytes")
    else:
        click.echo(f"{program.pubkey()} is deployed, transaction {signature}; {payer.pubkey()} may upgrade it")
    return ExitStatus.OK
