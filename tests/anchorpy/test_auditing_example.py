"""The anchorpy snippet of docs/auditing.md, run as it is shown on a session of this chain."""

import asyncio
import sys
from pathlib import Path

from retainer.chain.rpc import RpcChain
from retainer.chain.sessions import session_account
from retainer.chain.submit import submit
from retainer.protocol.instructions import OpenWithTermsParams, close, open_with_terms
from retainer.protocol.pda import derive_ata, derive_session
from tests.localnet import LocalValidator

ROOT = Path(__file__).parents[2]


async def told(*arguments: str) -> str:
    idl = ROOT / "programs" / "session_escrow" / "artifacts" / "session_escrow.legacy.json"
    url, *rest = arguments
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "examples" / "audit_anchorpy.py"), url, str(idl), *rest),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return out.decode()


async def test_the_snippet_tells_a_session_and_how_it_ended(localnet: LocalValidator, chain: RpcChain) -> None:
    payer, operator = await localnet.person(), await localnet.person()
    mint = await localnet.mint(payer.pubkey(), operator.pubkey())
    params = OpenWithTermsParams(
        payer=payer.pubkey(),
        rent_payer=payer.pubkey(),
        payee=operator.pubkey(),
        operator=operator.pubkey(),
        mint=mint,
        authorized_signer=operator.pubkey(),
        salt=1,
        deposit=1_000_000,
        grace_period=900,
        open_slot=await chain.slot(),
        payer_token=derive_ata(payer.pubkey(), mint),
        price_per_unit=8_000,
    )
    session, _ = derive_session(params.seeds)
    await submit(chain, [open_with_terms(params)], [payer])
    living = await told(localnet.rpc_url, str(session))
    assert "account: deposit 1000000, settled 0, status 1" in living
    assert "SessionOpened:" in living
    account = await session_account(chain, session)
    assert account is not None
    end = close(
        submitter=operator.pubkey(),
        session=session,
        account=account,
        payee_token=derive_ata(operator.pubkey(), mint),
        payer_token=params.payer_token,
        amount=24_000,
        charged_units=3,
        usage_root=bytes([7] * 32),
    )
    await submit(chain, [end], [operator])
    ended = await told(localnet.rpc_url, str(session))
    assert "account: none" in ended
    assert "SessionClosed:" in ended
    assert "settled=24000" in ended
