"""deposit: every bad deposit is refused by its own problem type and credits nothing; its honest twin activates.

Each bad deposit differs from the honest one in one thing. Those that can exist on chain are really sent there first, so
that the provider is shown a landed transaction and not only a claim.
"""

import base64
import secrets
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.confirm import confirm
from retainer.chain.testing import create_mint, mint_to
from retainer.channels.channel import Channel
from retainer.flows.answers import problem_of
from retainer.flows.offers import Offer, read_offers
from retainer.flows.opening import build_opening
from retainer.protocol.actions import OpenAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import sign_proof
from retainer.protocol.challenges import Challenge, issue_challenge
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.problems import ProblemType
from retainer.protocol.timestamps import format_timestamp
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import OFFER, Stage, stage

HONEST = BaseUnits(1_000_000)
TOO_SMALL = BaseUnits(50_000)
MORE_THAN_IT_HAS = BaseUnits(10**12)
MISMATCH = ProblemType.DEPOSIT_TERMS_MISMATCH


@dataclass(frozen=True, slots=True)
class Bad:
    """One bad deposit: what the agent builds instead of what the challenge asks for."""

    name: str
    problem: ProblemType
    change: Callable[[Offer], Offer] = lambda offer: offer
    deposit: BaseUnits = HONEST
    lands: bool = True
    sendable: bool = True


@dataclass(frozen=True, slots=True)
class Shown:
    """What the provider said to a bad deposit, to a request on its session, and to its honest twin; None is yes."""

    refused: ProblemType | None
    used: ProblemType | None
    twin: ProblemType | None


@dataclass(frozen=True, slots=True)
class Teller:
    """Presents deposits to the provider over HTTP."""

    stood: Stage
    http: httpx.AsyncClient

    async def offer(self) -> Offer:
        """What a fresh 402 offers."""
        (offer,) = read_offers(await self.http.get(self.stood.url))
        return offer

    def build(self, offer: Offer, deposit: BaseUnits, *, self_sent: bool) -> Channel:
        """The agent's signed opening, to a challenge that stays the provider's own whatever `offer` says."""
        return build_opening(
            offer,
            self.stood.agent,
            deposit=deposit,
            salt=secrets.randbits(64),
            token_program=TOKEN_PROGRAM_ID,
            now=0,
            self_sent=self_sent,
        )

    async def present(self, opening: str) -> ProblemType | None:
        """What the provider says to an opening credential; None when it opens the session."""
        return _answer(await self.http.get(self.stood.url, headers={"Authorization": opening}))

    async def use(self, channel: Channel) -> ProblemType | None:
        """What the provider says to a request on that session."""
        return _answer(await self.http.get(self.stood.url, headers={"Authorization": channel.pay_header()}))

    async def land(self, channel: Channel) -> None:
        """Send a transaction past the node's own checks, so that even a failing one lands."""
        encoded = base64.b64encode(channel.transaction or b"").decode()
        options = {"encoding": "base64", "skipPreflight": True}
        call = {"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": [encoded, options]}
        answer = (await self.http.post(self.stood.rpc_url, json=call)).json()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        await confirm(self.stood.chain, channel.creation_signature or "")


async def run(report: Report) -> None:
    """Present each bad deposit and its honest twin."""
    offers = OFFER
    if report.sabotage:
        offers = offers.replace('minimum_deposit = "0.1"', 'minimum_deposit = "0.01"')
        report.plant("the provider's minimum deposit is a tenth of what it should be")
    limits = {"deposit_wait_seconds": 3}
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream()) as upstream,
            stage(Path(folder), upstream=upstream.url, offers=offers, slot_ms=100, limits=limits) as stood,
            httpx.AsyncClient(timeout=60) as http,
        ):
            other_mint = await create_mint(stood.chain, stood.authority)
            await mint_to(stood.chain, stood.authority, owner=stood.agent.pubkey(), mint=other_mint, amount=HONEST)
            await mint_to(
                stood.chain, stood.authority, owner=stood.agent.pubkey(), mint=stood.mint, amount=100 * HONEST
            )
            teller = Teller(stood, http)
            for bad in _bad_deposits(other_mint):
                await _judge(report, teller, bad, self_sent=True)
                if bad.sendable:
                    await _judge(report, teller, bad, self_sent=False)
            await _replayed(report, teller)
            await _foreign_signature(report, teller)
            await _challenges(report, teller)
            report.equal("requests that reached the upstream", sum(upstream.executions.values()), 0)


def _bad_deposits(other_mint: Pubkey) -> Iterator[Bad]:
    stranger = Keypair.from_seed(bytes(31) + b"\x2a").pubkey()
    yield Bad("unconfirmed", ProblemType.DEPOSIT_UNCONFIRMED, lands=False, sendable=False)
    yield Bad("failed on chain", ProblemType.DEPOSIT_FAILED, deposit=MORE_THAN_IT_HAS)
    yield Bad("too small", ProblemType.DEPOSIT_TOO_SMALL, deposit=TOO_SMALL)
    yield Bad("in another token", ProblemType.DEPOSIT_FOREIGN, lambda offer: _asking(offer, currency=other_mint))
    yield Bad("to another payee", ProblemType.DEPOSIT_WRONG_RECIPIENT, lambda offer: _asking(offer, recipient=stranger))
    yield Bad("with another operator", MISMATCH, lambda offer: _terms(offer, operator=stranger))
    yield Bad("with another voucher signer", MISMATCH, lambda offer: _asking(offer, operator=stranger))
    yield Bad("with another grace period", MISMATCH, lambda offer: _asking(offer, grace_period_seconds=901))
    yield Bad("with another expiry", MISMATCH, lambda offer: _terms(offer, expires_at=_expiry(offer) - 3600))
    yield Bad("with another price", MISMATCH, lambda offer: _terms(offer, price=BaseUnits(1)))
    yield Bad("with another SLA", MISMATCH, lambda offer: _terms(offer, sla=None))


def _asking(offer: Offer, **changes: object) -> Offer:
    return replace(offer, request=replace(offer.request, **changes))  # type: ignore[arg-type]


def _terms(offer: Offer, **changes: object) -> Offer:
    terms = offer.request.retainer
    if terms is None:
        raise RuntimeError("the provider commits to no terms")
    return _asking(offer, retainer=replace(terms, **changes))  # type: ignore[arg-type]


def _expiry(offer: Offer) -> int:
    return offer.request.retainer.expires_at if offer.request.retainer else 0


async def _judge(report: Report, teller: Teller, bad: Bad, *, self_sent: bool) -> None:
    """Show the provider a landed deposit by its signature, or hand it the transaction to send."""
    channel = teller.build(bad.change(await teller.offer()), bad.deposit, self_sent=self_sent)
    name = bad.name if self_sent else f"{bad.name}, to be sent"
    if self_sent and bad.lands:
        await teller.land(channel)
        report.fact(name, channel.creation_signature)
    refused = await teller.present(_opening(channel))
    shown = Shown(refused, await teller.use(channel), await _twin(teller, self_sent=self_sent))
    _verdict(report, name, bad.problem, shown)


async def _twin(teller: Teller, *, self_sent: bool) -> ProblemType | None:
    """The honest deposit, delivered as the bad one was, and presented twice: the second time changes nothing."""
    twin = teller.build(await teller.offer(), HONEST, self_sent=self_sent)
    if self_sent:
        await teller.land(twin)
    return await teller.present(_opening(twin)) or await teller.present(_opening(twin))


async def _replayed(report: Report, teller: Teller) -> None:
    """A deposit that opened one session, presented again under another challenge."""
    first = teller.build(await teller.offer(), HONEST, self_sent=True)
    await teller.land(first)
    opened = await teller.present(_opening(first))
    challenge = (await teller.offer()).challenge
    proof = sign_proof(challenge.id, first.address, teller.stood.agent)
    action = replace(_action(first), authentication=proof)
    refused = await teller.present(authorization_header(Credential(challenge, action)))
    report.equal("replayed: refused as", _name(refused), _name(ProblemType.DEPOSIT_REPLAYED))
    report.equal("replayed: its honest twin", _name(opened), "activated")


async def _foreign_signature(report: Report, teller: Teller) -> None:
    """A landed transaction of somebody else's, named as if it had opened the session."""
    landed = teller.build(await teller.offer(), HONEST, self_sent=True)
    await teller.land(landed)
    pretended = teller.build(await teller.offer(), HONEST, self_sent=True)
    action = replace(_action(pretended), signature=_action(landed).signature)
    refused = await teller.present(authorization_header(Credential(pretended.offer.challenge, action)))
    shown = Shown(refused, await teller.use(pretended), await teller.present(_opening(landed)))
    _verdict(report, "another session's transaction", ProblemType.DEPOSIT_FOREIGN, shown)


async def _challenges(report: Report, teller: Teller) -> None:
    """Good deposits under challenges that are not, or no longer, the provider's."""
    offer = await teller.offer()
    settings = tomllib.loads(teller.stood.service.settings.read_text(encoding="utf-8"))
    secret = settings["service"]["secret"].encode()
    cases = [
        ("forged challenge", ProblemType.INVALID_CHALLENGE, _issued(offer, b"f" * 32, 300)),
        ("expired challenge", ProblemType.CHALLENGE_EXPIRED, _issued(offer, secret, -3600)),
    ]
    for name, problem, challenge in cases:
        channel = teller.build(replace(offer, challenge=challenge), HONEST, self_sent=True)
        await teller.land(channel)
        refused = await teller.present(_opening(channel))
        _verdict(report, name, problem, Shown(refused, await teller.use(channel), await _twin(teller, self_sent=True)))
    malformed = await teller.present("Payment not-a-credential")
    report.equal("malformed credential: refused as", _name(malformed), _name(ProblemType.MALFORMED_CREDENTIAL))


def _opening(channel: Channel) -> str:
    if channel.opening is None:
        raise RuntimeError("the opening was thrown away")
    return channel.opening


def _action(channel: Channel) -> OpenAction:
    action = parse_authorization(_opening(channel)).action
    if not isinstance(action, OpenAction):
        raise TypeError("an opening credential opens")
    return action


def _issued(offer: Offer, secret: bytes, lifetime: int) -> Challenge:
    expires = format_timestamp(int(time.time()) + lifetime)
    return issue_challenge(secret, offer.challenge.realm, offer.request, expires=expires)


def _verdict(report: Report, name: str, expected: ProblemType, shown: Shown) -> None:
    report.equal(f"{name}: refused as", _name(shown.refused), _name(expected))
    if shown.refused is not None:
        nothing = {_name(ProblemType.SESSION_UNKNOWN), _name(ProblemType.INVALID_CHALLENGE)}
        report.equal(f"{name}: buys nothing", _name(shown.used) in nothing, expected=True)
    report.equal(f"{name}: its honest twin", _name(shown.twin), "activated")


def _answer(response: httpx.Response) -> ProblemType | None:
    if response.is_success:
        return None
    problem = problem_of(response)
    if problem is None:
        raise RuntimeError(f"status {response.status_code} without a problem: {response.text[:200]}")
    return problem.type


def _name(problem: ProblemType | None) -> str:
    return "activated" if problem is None else problem.value.rpartition(":")[2].rpartition("/")[2]
