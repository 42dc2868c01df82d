"""Fund once, ask many. Usage: python client.py URL KEYPAIR_FILE RPC_URL."""

import asyncio
import sys

from retainer import SessionClient, load_keypair


async def main(url: str, keypair: str, rpc_url: str) -> None:
    """One deposit, thirty requests, one settlement."""
    async with SessionClient(load_keypair(keypair), rpc_url=rpc_url) as client:
        session = await client.create_session(url, deposit_amount="1.0")
        for number in range(30):
            answer = await client.request("GET", url, params={"q": number}, session=session.session_id)
            print(answer.text)
        print(await client.close_session(session.session_id))


asyncio.run(main(*sys.argv[1:]))
