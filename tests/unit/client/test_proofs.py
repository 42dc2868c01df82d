"""What an agent hands to an operator that has lost its books: no more than it has spent, and nothing made up."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner
from solders.keypair import Keypair

from retainer.cli import main
from retainer.protocol.amounts import base_units
from retainer.protocol.fields import Fields
from retainer.protocol.receipts import parse_receipt, verify_receipt
from retainer.protocol.vouchers import verify_voucher, voucher_from_json
from retainer.stores import create_sqlite_channel_store
from retainer.wallet import sign_voucher_as
from tests.unit.client.conftest import Stage
from tests.unit.client.service import PRICE, URL


async def test_the_newest_receipt_is_the_proof(stage: Stage) -> None:
    session = await stage.client.create_session(URL, deposit_amount="1.0")
    before = await stage.client.proofs(session.session_id)
    for _ in range(3):
        await stage.client.request("GET", URL)
    [proof] = await stage.client.proofs(session.session_id)
    receipt = parse_receipt(proof)
    assert [parse_receipt(line).spent for line in before] in ([], [0])
    assert (str(receipt.reference), receipt.spent) == (session.session_id, 3 * PRICE)
    assert verify_receipt(receipt, stage.service.operator.pubkey())


async def test_where_the_agent_signs_its_voucher_comes_with_it(stage: Stage) -> None:
    session = await stage.client.create_session(URL, deposit_amount="1.0")
    await stage.client.request("GET", URL)
    signer = Keypair()
    [channel] = await stage.store.channels(stage.agent.pubkey())
    voucher = sign_voucher_as(signer, channel.address, base_units(2 * PRICE))
    await stage.store.update(stage.agent.pubkey(), session.session_id, lambda kept: replace(kept, authority=voucher))
    receipt, signed = await stage.client.proofs(session.session_id)
    assert parse_receipt(receipt).spent == PRICE
    assert verify_voucher(voucher_from_json(Fields(json.loads(signed), "voucher")))


async def test_the_command_prints_the_lines_of_all_sessions_and_asks_nobody(stage: Stage, tmp_path: Path) -> None:
    session = await stage.client.create_session(URL, deposit_amount="1.0")
    await stage.client.request("GET", URL)
    [channel] = await stage.store.channels(stage.agent.pubkey())
    store, key = tmp_path / "sessions.sqlite", tmp_path / "agent.json"
    await create_sqlite_channel_store(store).set(channel.scope, channel)
    key.write_text(json.dumps(list(bytes(stage.agent))))
    key.chmod(0o600)
    where = ["--keypair", str(key), "--store", str(store), "--rpc-url", "http://127.0.0.1:1"]

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["proofs", *arguments, *where])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    lines = await stage.client.proofs(session.session_id)
    # The command runs a loop of its own.
    assert (await asyncio.to_thread(run)).splitlines() == lines
    assert json.loads(await asyncio.to_thread(run, session.session_id, "--json")) == {session.session_id: lines}
