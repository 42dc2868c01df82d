"""The main job on a real validator, with the service as people run it: initialized, checked, served, stopped, settled.

The agent speaks the bare wire, so that nothing here rests on the client library.
"""

import asyncio
import base64
import json
import tomllib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from xprocess import XProcess

from retainer.chain.rpc import RpcChain
from retainer.chain.testing import token_balance
from retainer.localnet import airdrop
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.layouts import decode_session
from retainer.protocol.pda import derive_ata
from retainer.protocol.problems import ProblemType, parse_problem
from retainer.protocol.receipts import Receipt, parse_receipt, verify_receipt
from retainer_provider.keys import load_keypair
from tests.localnet import SLOT_MS, LocalValidator, running
from tests.serving import client, run, serving
from tests.shop import Agent, Opening
from tools.demo import upstream_service

TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class Town:
    """A shop's folder, its keys and its customer, on one validator."""

    localnet: LocalValidator
    chain: RpcChain
    folder: Path
    mint: Pubkey
    operator: Keypair
    agent: Agent

    @property
    def config(self) -> Path:
        return self.folder / "retainer.toml"

    async def tokens(self, owner: Pubkey) -> int:
        return await token_balance(self.chain, owner, self.mint)

    async def challenged(self, http: httpx.AsyncClient, **spoiled: object) -> Opening:
        """An answer to a fresh challenge."""
        unpaid = await http.get("/work")
        assert unpaid.status_code == 402
        return self.agent.open(unpaid.headers["www-authenticate"], **spoiled)  # type: ignore[arg-type]

    async def opened(self, http: httpx.AsyncClient) -> Opening:
        opening = await self.challenged(http)
        answer = await sent(http, opening.header)
        assert answer.status_code == 200, answer.text
        return opening

    async def landed(self, opening: Opening, *, skip_check: bool = False) -> Opening:
        """The opening sent to the chain by the agent itself, and pointed at."""
        raw = opening.action.transaction
        assert raw is not None
        options: dict[str, Any] = {"encoding": "base64", "skipPreflight": skip_check}
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "sendTransaction",
            "params": [base64.b64encode(raw).decode(), options],
        }
        async with httpx.AsyncClient() as rpc:
            reply = (await rpc.post(self.localnet.rpc_url, json=call)).json()
        assert "result" in reply, reply
        return opening.self_sent(Signature.from_string(reply["result"]))


async def sent(
    http: httpx.AsyncClient, header: str, path: str = "/work", *, key: str | None = None, content: bytes = b""
) -> httpx.Response:
    """A request with a credential."""
    headers = {"Authorization": header} if key is None else {"Authorization": header, "Idempotency-Key": key}
    return await http.post(path, headers=headers, content=content)


def receipt(answer: httpx.Response, operator: Keypair) -> Receipt:
    assert answer.status_code == 200, answer.text
    found = parse_receipt(answer.headers["payment-receipt"])
    assert verify_receipt(found, operator.pubkey())
    return found


@pytest.fixture(scope="module")
def localnet(xprocess: XProcess) -> Iterator[LocalValidator]:
    """A fresh one: the clock of the run's own counts slots, and falls behind on a busy machine, which `check` tells."""
    with running(xprocess, SLOT_MS) as validator:
        yield validator


@pytest_asyncio.fixture
async def town(localnet: LocalValidator, chain: RpcChain, tmp_path: Path) -> AsyncIterator[Town]:
    agent = Agent(await localnet.person())
    mint = await localnet.mint(agent.key, amount=TOKENS)
    async with upstream_service() as upstream:
        written = await run(
            *("init", str(tmp_path), "--realm", "shop.test", "--rpc-url", localnet.rpc_url),
            *("--mint", str(mint), "--upstream", upstream),
        )
        assert written.status == 0, written.err
        operator = load_keypair(tmp_path / "operator.json")
        assert str(operator.pubkey()) in written.out
        settings = tmp_path / "retainer.toml"
        metered = settings.read_text().replace('voucher_signer = "client"', 'voucher_signer = "operator"')
        settings.write_text(f"{metered}\n[limits]\ndeposit_wait_seconds = 3\n")
        await airdrop(localnet.rpc_url, chain, operator.pubkey(), 10_000_000_000)
        yield Town(localnet, chain, tmp_path, mint, operator, agent)


async def test_thirty_requests_cost_two_transactions(town: Town) -> None:
    """Deposit 1.0, 30 requests at 0.008: 0.76 back in the one transaction that also pays 0.24."""
    checked = await run("check", "--config", str(town.config))
    assert checked.status == 0, checked.out + checked.err
    async with serving(town.config) as service, client(service.url) as http:
        opening = await town.opened(http)
        info = await town.chain.account(opening.action.channel_id)
        assert info is not None
        assert decode_session(info.data).deposit == 1_000_000
        assert await town.tokens(town.agent.key) == TOKENS - 1_000_000
        for number in range(30):
            answer = await sent(http, opening.use(), f"/work?n={number}", content=b"x" * number)
            assert answer.json()["length"] == number
            metered = receipt(answer, town.operator)
            assert (metered.spent, metered.retainer.metered.sequence) == (8_000 * (number + 1), number + 1)  # type: ignore[union-attr]
        listed = await run("sessions", "--config", str(town.config), "--json")
        [shown] = json.loads(listed.out)["sessions"]
        assert (shown["sessionId"], shown["spentDisplay"], shown["state"]) == (
            str(opening.action.channel_id),
            "0.24",
            "active",
        )
        closed = receipt(await sent(http, opening.close()), town.operator)
        assert (closed.spent, closed.refunded) == (240_000, 760_000)
    assert await town.tokens(town.agent.key) == TOKENS - 240_000
    assert await town.tokens(town.operator.pubkey()) == 240_000
    assert await town.chain.account(opening.action.channel_id) is None
    assert closed.tx_hash is not None
    signatures = await town.chain.signatures_for(opening.action.channel_id)
    assert len(signatures) == 2
    assert signatures[0] == closed.tx_hash


async def test_a_deposit_that_the_agent_sent_itself_opens_a_session(town: Town) -> None:
    async with serving(town.config) as service, client(service.url) as http:
        opening = await town.landed(await town.challenged(http))
        opened = await sent(http, opening.header)
        assert receipt(opened, town.operator).spent == 0
        assert opened.json()["creationSignature"] == str(opening.action.signature)
        assert receipt(await sent(http, opening.use()), town.operator).spent == 8_000
        # The same deposit for another challenge, and again once it is closed.
        replay = await town.challenged(http, salt=opening.params.salt, open_slot=opening.params.open_slot)
        assert replay.action.channel_id == opening.action.channel_id
        for _ in range(2):
            refused = await sent(http, replay.self_sent(opening.action.signature or Signature.default()).header)
            assert (refused.status_code, parse_problem(refused.content).type) == (409, ProblemType.DEPOSIT_REPLAYED)
            assert receipt(await sent(http, opening.close()), town.operator).refunded == 992_000


async def test_every_bad_deposit_on_chain_is_refused_by_its_own_problem(town: Town) -> None:
    """Landed by the agent, so that only looking at the chain can tell."""
    stranger = await town.localnet.person()
    lookalike = await town.localnet.mint(town.agent.key, amount=TOKENS)
    async with serving(town.config) as service, client(service.url) as http:

        async def refused(opening: Opening, problem: ProblemType) -> None:
            answer = await sent(http, opening.header)
            assert parse_problem(answer.content).type == problem, answer.text
            assert "payment-receipt" not in answer.headers
            assert (await sent(http, opening.use())).status_code == 402

        unknown = (await town.challenged(http)).self_sent(town.agent.keypair.sign_message(b"nothing"))
        await refused(unknown, ProblemType.DEPOSIT_UNCONFIRMED)
        spoiled: list[tuple[dict[str, object], ProblemType]] = [
            ({"payee": stranger.pubkey()}, ProblemType.DEPOSIT_WRONG_RECIPIENT),
            ({"operator": stranger.pubkey()}, ProblemType.DEPOSIT_TERMS_MISMATCH),
            ({"grace_period": 900}, ProblemType.DEPOSIT_TERMS_MISMATCH),
            ({"expires_at": 0}, ProblemType.DEPOSIT_TERMS_MISMATCH),
            ({"price_per_unit": 1}, ProblemType.DEPOSIT_TERMS_MISMATCH),
            ({"sla_hash": bytes(32)}, ProblemType.DEPOSIT_TERMS_MISMATCH),
            ({"deposit": 79_999}, ProblemType.DEPOSIT_TOO_SMALL),
            (
                {"mint": lookalike, "payer_token": derive_ata(town.agent.key, lookalike)},
                ProblemType.DEPOSIT_FOREIGN,
            ),
        ]
        for changes, problem in spoiled:
            await refused(await town.landed(await town.challenged(http, **changes)), problem)
        honest, other = await town.challenged(http), await town.challenged(http)
        pointed = await town.landed(other)
        await refused(honest.self_sent(pointed.action.signature or Signature.default()), ProblemType.DEPOSIT_FOREIGN)
        assert (await sent(http, pointed.header)).status_code == 200
        failing = await town.challenged(http, deposit=TOKENS * 2)
        await refused(await town.landed(failing, skip_check=True), ProblemType.DEPOSIT_FAILED)
        refund = await sent(http, pointed.close())
        assert refund.json()["refund"] == "1000000"


async def test_a_stopped_service_finishes_what_runs_and_a_restarted_one_goes_on(town: Town) -> None:
    """SIGTERM in the middle of requests, then SIGKILL: nothing is charged twice, nothing is lost."""
    async with serving(town.config) as service, client(service.url) as http:
        opening = await town.opened(http)
        running = [asyncio.ensure_future(sent(http, opening.use(), key=str(n))) for n in range(5)]
        first = await running[0]
        assert await service.terminate() == 0
        answers = await asyncio.gather(*running, return_exceptions=True)
        assert any("service_stopped" in line for line in service.log)
        secrets = (str(opening.proof.signature), opening.use(), (town.folder / "challenge.secret").read_text().strip())
        assert not any(secret in line for secret in (*secrets, "Traceback") for line in service.log)  # F27
    async with serving(town.config) as service, client(service.url) as http:
        again = await sent(http, opening.use(), key="0")
        assert again.headers["payment-receipt"] == first.headers["payment-receipt"]
        assert again.headers["idempotent-replayed"] == "true"
        for number, answer in enumerate(answers):
            repeated = await sent(http, opening.use(), key=str(number))
            assert repeated.status_code == 200
            if isinstance(answer, httpx.Response):
                assert repeated.headers["payment-receipt"] == answer.headers["payment-receipt"]
        await service.kill()
    async with serving(town.config) as service, client(service.url) as http:
        assert receipt(await sent(http, opening.use()), town.operator).spent == 6 * 8_000
        assert receipt(await sent(http, opening.close()), town.operator).refunded == 1_000_000 - 6 * 8_000


async def test_what_is_open_when_the_service_stops_can_be_settled_from_the_command_line(town: Town) -> None:
    async with serving(town.config) as service, client(service.url) as http:
        opening = await town.opened(http)
        await sent(http, opening.use())
        locked = await run("settle", "--config", str(town.config), "--all")
        assert (locked.status, "in use by another process" in locked.err) == (5, True)
        assert await service.terminate() == 0
    session_id = str(opening.action.channel_id)
    settled = await run("settle", "--config", str(town.config), "--all", "--json")
    assert settled.status == 0, settled.err
    assert json.loads(settled.out) == {"settlements": {session_id: "settled"}}
    shown = await run("show", "--config", str(town.config), session_id)
    assert "refunded    0.992" in shown.out
    assert await town.tokens(town.agent.key) == TOKENS - 8_000


async def test_check_says_in_sentences_what_is_wrong(town: Town) -> None:
    text = town.config.read_text()
    town.config.write_text(
        text.replace("decimals = 6", "decimals = 9")
        .replace(f'program_id = "{PROGRAM_ID}"', f'program_id = "{Keypair().pubkey()}"')
        .replace('minimum_deposit = "0.08"', 'minimum_deposit = "0.9"')
    )
    assert tomllib.loads(town.config.read_text())["offers"]["standard"]["decimals"] == 9
    checked = await run("check", "--config", str(town.config), "--json")
    found = {finding["name"]: finding for finding in json.loads(checked.out)["findings"]}
    assert checked.status == 1
    assert {name for name, finding in found.items() if not finding["ok"]} == {"program", "token of standard"}
    assert "deploy it" in found["program"]["sentence"]


async def test_check_tries_to_listen_where_it_is_told_to(town: Town, localnet: LocalValidator) -> None:
    text = town.config.read_text()
    for url, ok, says in (
        (localnet.ws_url, True, "as they happen"),
        ("ws://127.0.0.1:1", False, "127.0.0.1 cannot be listened to: ConnectionRefusedError: mend `ws_url`"),
    ):
        town.config.write_text(text.replace("[service]", f'[service]\nws_url = "{url}"'))
        checked = await run("check", "--config", str(town.config), "--json")
        found = {finding["name"]: finding for finding in json.loads(checked.out)["findings"]}
        told = found["announcements of 127.0.0.1"]
        assert told["ok"] is ok
        assert says in told["sentence"]


async def test_a_service_that_cannot_be_served_says_why_and_exits(town: Town) -> None:
    async with serving(town.config) as service:
        same_ledger = await run("serve", "--config", str(town.config), "--port", "0")
        assert (same_ledger.status, "in use by another process" in same_ledger.err) == (5, True)
        port = service.url.rpartition(":")[2]
        same_port = await run("serve", "--config", str(town.config), "--port", port)
        assert (same_port.status, "Choose another `host` or `port`" in same_port.err) == (3, True)
    unset = await run("serve", "--config", str(town.config), environ={"RETAINER_PROVIDER_SECRET": "short"})
    assert (unset.status, "weak secret" in unset.err) == (3, True)
    missing = await run("show", "--config", str(town.config), "nothing")
    assert missing.status == 6
