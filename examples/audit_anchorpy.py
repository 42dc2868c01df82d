"""A session as anchorpy reads it, by the IDL and nothing of retainer: python audit_anchorpy.py RPC_URL IDL_FILE PDA."""

import asyncio
import sys
from pathlib import Path

from anchorpy import EventParser, Idl, Program, Provider, Wallet
from anchorpy.error import AccountDoesNotExistError
from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair
from solders.pubkey import Pubkey


async def main(rpc_url: str, idl_text: str, pda: str) -> None:
    """The account where it still exists, then every event of its life, oldest first."""
    idl = Idl.from_json(idl_text)  # session_escrow.legacy.json: the form that anchorpy reads
    async with AsyncClient(rpc_url) as rpc:
        program = Program(idl, Pubkey.from_string(idl.metadata["address"]), Provider(rpc, Wallet(Keypair())))
        try:
            account = await program.account["Session"].fetch(Pubkey.from_string(pda))
            print(f"account: deposit {account.deposit}, settled {account.settled}, status {account.status}")
        except AccountDoesNotExistError:
            print("account: none, the session has ended")
        history = (await rpc.get_signatures_for_address(Pubkey.from_string(pda))).value
        for entry in reversed(history):
            landed = (await rpc.get_transaction(entry.signature, max_supported_transaction_version=0)).value
            logs = landed.transaction.meta.log_messages if landed and landed.transaction.meta else None
            parser = EventParser(program.program_id, program.coder)
            parser.parse_logs(logs or [], lambda event: print(f"{event.name}: {event.data}"))


if __name__ == "__main__":
    url, file, address = sys.argv[1:]
    asyncio.run(main(url, Path(file).read_text(), address))
