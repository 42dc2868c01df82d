"""The peer's side of a comparison, as a process in its own environment: FastAPI behind solana-pay-kit's session gate.

    .venv-peer/bin/python tools/bench/load/peer_serving.py metered|voucher --folder FOLDER --sessions N

Its state is in memory. Sessions are put into its store as it keeps them after an open, since opening is not what is
measured. Then it writes FOLDER/sessions.json and serves, and FOLDER/port says where.
"""

import argparse
import asyncio
import hashlib
import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Final

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from solana_pay_kit.fastapi import RequireSession, install_exception_handler
from solana_pay_kit.protocols.mpp.core.headers import format_www_authenticate
from solana_pay_kit.protocols.mpp.intents.session import sign_session_authentication
from solana_pay_kit.protocols.mpp.server.session_method import SessionChallengeOptions, SessionOptions, new_session
from solana_pay_kit.protocols.mpp.server.session_store import ChannelState
from solana_pay_kit.signer import LocalSigner
from solders.keypair import Keypair
from solders.pubkey import Pubkey

PATH: Final = "/paid/answer"
_DEPOSIT: Final = 10**12
_BLOCKHASH: Final = "11111111111111111111111111111112"


class _Rpc:
    """A node that names a blockhash; nothing else of it is needed to serve requests."""

    async def get_latest_blockhash(self, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(value=SimpleNamespace(blockhash=_BLOCKHASH), context=SimpleNamespace(slot=1))

    async def get_slot(self, *_: object, **__: object) -> int:
        return 1


async def _main(mode: str, folder: Path, number: int) -> None:
    operator, payer, signer = Keypair(), Keypair(), Keypair()
    session = new_session(
        SessionOptions(
            recipient=str(operator.pubkey()),
            amount=1,
            currency="EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
            network="localnet",
            secret_key="0123456789abcdef0123456789abcdef-for-tests-only",  # noqa: S106
            realm="shop.test",
            voucher_signer="operator" if mode == "metered" else "client",
            rpc=_Rpc(),
            signer=LocalSigner.from_keypair(operator),
        )
    )
    told = []
    for index in range(number):
        challenge = await session.challenge()
        channel = str(Pubkey(hashlib.sha256(b"channel %d" % index).digest()))
        state = ChannelState(
            channel_id=channel,
            authorized_signer=str((operator if mode == "metered" else signer).pubkey()),
            deposit=_DEPOSIT,
            payer=str(payer.pubkey()),
            opening_challenge_id=challenge.id,
            authentication=sign_session_authentication(challenge.id, channel, payer).to_dict(),
            voucher_signer="operator" if mode == "metered" else "client",
            idle_timeout_seconds=3600,
        )
        await session.core().store().update_channel(channel, lambda _, state=state: state)
        seeds = {"payer": bytes(payer)[:32].hex(), "signer": bytes(signer)[:32].hex()}
        told.append({"challenge": format_www_authenticate(challenge), "channel": channel, **seeds})
    (folder / "sessions.json").write_text(json.dumps(told), encoding="utf-8")
    app = _app(session, mode)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        (folder / "port").write_text(str(listener.getsockname()[1]), encoding="ascii")
        config = uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False)
        await uvicorn.Server(config).serve(sockets=[listener])


def _app(session: Any, mode: str) -> FastAPI:  # noqa: ANN401 - the peer's own type
    app = FastAPI()
    if mode == "voucher":
        install_exception_handler(app)  # puts the receipt on the answer
        requires = RequireSession(session, SessionChallengeOptions())

        @app.get(PATH)
        async def answer(receipt: Annotated[dict[str, str], Depends(requires)]) -> dict[str, int]:  # noqa: ARG001
            return {"answer": 42}

        return app

    # Its own dependency does not pass the Idempotency-Key on, without which it refuses every metered request.
    @app.get(PATH)
    async def answer_metered(request: Request, response: Response) -> dict[str, int]:
        key = request.headers.get("idempotency-key", "")
        result = await session.handle(
            request.headers.get("authorization"), SessionChallengeOptions(), idempotency_key=key
        )
        if not result.ok:
            raise HTTPException(result.status, detail=result.body, headers=result.headers)
        response.headers.update(result.headers)
        return {"answer": 42}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["metered", "voucher"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sessions", type=int, default=256)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvicorn.Config(FastAPI()).get_loop_factory()) as runner:
        runner.run(_main(options.mode, options.folder, options.sessions))
