"""F01 and F02 on real processes: one deposit and one top-up, told again and again to two services on one PostgreSQL."""

import asyncio
import secrets
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import httpx

from retainer.flows.answers import problem_of
from retainer.flows.offers import read_offers
from retainer.flows.opening import build_opening
from retainer.protocol.actions import TopUpAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.challenges import Challenge
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.instructions import top_up
from retainer.protocol.pda import derive_ata, derive_vault
from retainer.protocol.problems import ProblemType
from retainer.wallet import sign_transaction
from retainer_provider.books.stores.postgres_reader import reading
from tools.evidence.report import Report
from tools.evidence.services import another
from tools.evidence.upstream import Upstream, running
from tools.postgres import postgres
from tools.stage import Service, Stage, stage

CONNECTIONS: Final = 32
RACES, RACES_IN_CI = 1_000, 100
DEPOSIT, ADDED = BaseUnits(1_000_000), BaseUnits(500_000)
# The chain may not have it yet for some who ask early: those are told to repeat the same credential.
EXPECTED: Final = {"served", ProblemType.DEPOSIT_REPLAYED, ProblemType.DEPOSIT_UNCONFIRMED}
# Everything comes from one address.
LIMITS: Final = {"unpaid_requests_per_second": 0}
OFFER: Final = """
[ledger]
url = "{url}"

[offers.demo]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "1.0"
minimum_deposit = "0.1"
voucher_signer = "operator"
routes = ["/v1/*"]
"""


async def replayed(report: Report) -> None:
    """Present both from 32 connections at once, again after a restart, and read books and chain."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="retainer-evidence-"))
        url = stack.enter_context(postgres())
        upstream = await stack.enter_async_context(running(Upstream()))
        offers = OFFER.replace("{url}", url)
        stood = await stack.enter_async_context(
            stage(Path(folder), upstream=upstream.url, offers=offers, limits=LIMITS)
        )
        services = [stood.service, await another(stood, stack, 1)]
        before = await stood.balance(stood.agent.pubkey())
        async with httpx.AsyncClient(timeout=60) as http:
            (offer,) = read_offers(await http.get(stood.url))
        opening = build_opening(
            offer, stood.agent, deposit=DEPOSIT, salt=secrets.randbits(64), token_program=TOKEN_PROGRAM_ID, now=0
        )
        header = opening.opening or ""
        races = report.count(RACES, RACES_IN_CI)
        first = await _told(services, header, CONNECTIONS)
        report.told(f"F01: one deposit from {CONNECTIONS} connections to two processes", dict(first))
        report.equal("F01: answers that should not be", _odd(first), {})
        added = await _topping_up(stood, parse_authorization(header).challenge, header)
        again = await _told(services, added, races)
        report.told(f"F02: one signed top-up told {races} times", dict(again))
        report.equal("F02: answers that should not be", _odd(again), {})
        for service in services:
            await service.stop()
            await service.start()
        late = await _told(services, header, CONNECTIONS) + await _told(services, added, CONNECTIONS)
        report.told("F01, F02: after a restart of both", dict(late))
        report.equal("F01, F02: answers after it that should not be", _odd(late), {})
        async with reading(url) as books:
            sessions = await books.sessions()
        report.equal("F01: sessions in the books", len(sessions), 1)
        report.equal("F02: their deposit, in base units", [each.deposit for each in sessions], [DEPOSIT + ADDED])
        moved = before - await stood.balance(stood.agent.pubkey())
        report.equal("F01, F02: taken from the agent on chain, in base units", moved, DEPOSIT + ADDED)


async def _told(services: Sequence[Service], header: str, times: int) -> Counter[str]:
    answers = Counter[str]()
    async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=CONNECTIONS)) as http:

        async def tell(number: int) -> None:
            url = f"{services[number % len(services)].url}/v1/report"
            answer = await http.get(url, headers={"Authorization": header})
            problem = problem_of(answer)
            answers["served" if answer.is_success else str(problem and problem.type)] += 1

        await asyncio.gather(*(tell(number) for number in range(times)))
    return answers


def _odd(answers: Counter[str]) -> dict[str, int]:
    """What is neither the session, nor a stable conflict, nor "ask again"; all of it when nobody was served."""
    if not answers["served"]:
        return dict(answers)
    return {answer: count for answer, count in answers.items() if answer not in EXPECTED}


async def _topping_up(stood: Stage, challenge: Challenge, header: str) -> str:
    payer, session = stood.agent.pubkey(), parse_authorization(header).action.channel_id
    instruction = top_up(
        payer=payer,
        session=session,
        payer_token=derive_ata(payer, stood.mint),
        escrow=derive_vault(session)[0],
        mint=stood.mint,
        amount=ADDED,
        token_program=TOKEN_PROGRAM_ID,
    )
    latest = await stood.chain.latest_blockhash()
    transaction, _ = sign_transaction(stood.agent, [instruction], latest.blockhash)
    return authorization_header(Credential(challenge, TopUpAction(session, ADDED, transaction)))
