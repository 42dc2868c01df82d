"""The provider example of the README, served by uvicorn as it says."""

import asyncio
import socket
import sys
from pathlib import Path

from retainer.chain.rpc import RpcChain
from retainer.localnet import airdrop
from retainer.protocol.receipts import parse_receipt
from retainer_provider.keys import load_keypair
from tests.localnet import LocalValidator
from tests.serving import client, run
from tests.shop import PRICE, Agent

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_the_readmes_provider_is_paid_for_its_answers(
    localnet: LocalValidator, chain: RpcChain, tmp_path: Path
) -> None:
    agent = Agent(await localnet.person())
    mint = await localnet.mint(agent.key)
    await run("init", str(tmp_path), "--realm", "shop.test", "--rpc-url", localnet.rpc_url, "--mint", str(mint))
    operator = load_keypair(tmp_path / "operator.json").pubkey()
    await airdrop(localnet.rpc_url, chain, operator, 1_000_000_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "provider_asgi:app"),
            *("--fd", str(listener.fileno())),
            pass_fds=[listener.fileno()],
            cwd=tmp_path,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with client(f"http://127.0.0.1:{listener.getsockname()[1]}") as http:
                unpaid = await http.get("/answer")
                opening = agent.open(unpaid.headers["www-authenticate"])
                assert (await http.get("/answer", headers={"Authorization": opening.header})).status_code == 200
                paid = await http.get("/answer", headers={"Authorization": opening.paying(PRICE)})
                assert paid.json() == {"session": str(opening.action.channel_id), "answer": 42}
                assert parse_receipt(paid.headers["payment-receipt"]).spent == PRICE
                closed = await http.get("/answer", headers={"Authorization": opening.closing(PRICE)})
                assert closed.json()["refund"] == "992000"
        finally:
            process.terminate()
            _, log = await process.communicate()
    assert process.returncode in (0, -15), log
    assert str(opening.proof.signature).encode() not in log
