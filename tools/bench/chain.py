"""chain: every instruction on a real validator, over random keys, with and without a priority fee."""

import random
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Final

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.base import Commitment
from retainer.chain.rpc import RpcChain
from retainer.chain.sessions import session_account
from retainer.chain.testing import create_ata, create_mint
from retainer.flows.opening import cheap_salt
from retainer.localnet import LAMPORTS_PER_SOL, Localnet, airdrop, time_travel
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.instructions import (
    OpenParams,
    OpenWithTermsParams,
    close,
    ed25519_voucher,
    open_session,
    open_with_terms,
    request_close,
    settle,
    top_up,
    withdraw,
)
from retainer.protocol.pda import derive_ata, derive_session
from retainer.protocol.session import SessionAccount
from retainer.wallet import sign_voucher_as
from tools.bench.result import Result
from tools.till import Landed, Till

KEY_SETS: Final = 15
DEPOSIT, TOP_UP, PRICE = 1_000_000, 200_000, 8_000
HALF, ALL = 120_000, 240_000
GRACE_SECONDS, SLOT_MS = 900, 100
SPONSORED = 5
REQUESTS: Final = 1_000
_PRIORITY: Final = (set_compute_unit_limit(200_000), set_compute_unit_price(1_000))

# Published by the peer program's authors for its mainnet build (the compute-unit report in its repository, and its
# settlement transactions on mainnet); not measured here.
PEER_OPEN_UNITS, PEER_CLOSE_UNITS, PEER_CLOSE_BYTES, PEER_CLOSE_FEE = 30_461, 18_878, 713, 10_000
PER_REQUEST_FEE = 10_000


@dataclass(slots=True)
class Costs:
    """What each kind of transaction cost, by name."""

    landed: dict[str, list[Landed]] = field(default_factory=lambda: defaultdict(list))
    locked: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    kept: list[int] = field(default_factory=list)

    def units(self, name: str) -> list[int]:
        """Compute units of each that landed under the name."""
        return [one.units for one in self.landed[name]]


@dataclass(slots=True)
class Agent:
    """One random payer with its payee."""

    payer: Keypair
    payee: Pubkey
    payer_token: Pubkey
    payee_token: Pubkey


@dataclass(slots=True)
class Run:
    """Sessions of random keys, each step landed and written down under its name."""

    till: Till
    rng: random.Random
    costs: Costs = field(default_factory=Costs)

    async def agent(self, payee: Pubkey | None = None) -> Agent:
        """A funded payer, and a payee with a token account, by default one of its own."""
        payer, payee = self.keypair(), payee or self.keypair().pubkey()
        token = await self.till.funded(payer, 10 * DEPOSIT)
        if await self.till.chain.account(derive_ata(payee, self.till.mint)) is None:
            await create_ata(self.till.chain, self.till.authority, owner=payee, mint=self.till.mint)
        return Agent(payer, payee, token, derive_ata(payee, self.till.mint))

    async def land(self, name: str, signers: list[Keypair], *instructions: Instruction, priority: bool) -> Landed:
        """Land it and write its cost down; with a priority fee under a name of its own."""
        budget = _PRIORITY if priority else ()
        landed = await self.till.land(signers, *budget, *instructions)
        self.costs.landed[f"{name}, priority fee" if priority else name].append(landed)
        return landed

    async def open(
        self,
        name: str,
        agent: Agent,
        *,
        signer: Pubkey,
        sponsor: Keypair | None = None,
        stock: bool = False,
        cheap: bool = False,
        priority: bool,
    ) -> Pubkey:
        """Open a session that `signer` authorizes, at any salt or at one that the client would choose.

        A `sponsor` pays fee and rent in the agent's place.
        """
        funder = sponsor or agent.payer
        params = OpenParams(
            payer=agent.payer.pubkey(),
            rent_payer=funder.pubkey(),
            payee=agent.payee,
            mint=self.till.mint,
            authorized_signer=signer,
            salt=self.rng.getrandbits(64),
            deposit=DEPOSIT,
            grace_period=GRACE_SECONDS,
            open_slot=await self.till.chain.slot(commitment=Commitment.CONFIRMED),
            payer_token=agent.payer_token,
        )
        if cheap:
            params = replace(params, salt=cheap_salt(params))
        fields = {field: getattr(params, field) for field in OpenParams.__slots__}
        opening = (
            open_session(params)
            if stock
            else open_with_terms(
                OpenWithTermsParams(**fields, operator=self.till.operator.pubkey(), price_per_unit=PRICE, batch=True)
            )
        )
        before = await self.till.lamports(funder.pubkey())
        signers = [agent.payer] if sponsor is None else [sponsor, agent.payer]
        landed = await self.land(name, signers, opening, priority=priority)
        if not priority:
            self.costs.locked[name].append(before - landed.fee - await self.till.lamports(funder.pubkey()))
        return derive_session(params.seeds)[0]

    async def account(self, session: Pubkey) -> SessionAccount:
        """The session as it stands on chain."""
        account = await session_account(self.till.chain, session)
        if account is None:
            raise RuntimeError(f"there is no session at {session}")
        return account

    async def close_of(self, session: Pubkey, agent: Agent) -> Instruction:
        """Settle 0.24 and refund the rest."""
        return close(
            submitter=self.till.operator.pubkey(),
            session=session,
            account=await self.account(session),
            payee_token=agent.payee_token,
            payer_token=agent.payer_token,
            amount=ALL,
            charged_units=ALL // PRICE,
            usage_root=bytes(32),
            batch=True,
        )

    def keypair(self) -> Keypair:
        """One of the run's own."""
        return Keypair.from_seed(self.rng.randbytes(32))


async def run(result: Result, seed: int) -> None:
    """Open, top up, settle and close in both modes, leave alone, and close five agents' sessions in one transaction."""
    rng = random.Random(seed)  # noqa: S311  keys that hold nothing, repeatable by seed
    with Localnet.start(slot_ms=SLOT_MS) as localnet:
        async with RpcChain(localnet.rpc_url) as chain:
            authority, operator = (Keypair.from_seed(rng.randbytes(32)) for _ in range(2))
            for key in (authority, operator):
                await airdrop(localnet.rpc_url, chain, key.pubkey(), 100 * LAMPORTS_PER_SOL)
            till = Till(localnet.rpc_url, chain, authority, await create_mint(chain, authority), operator)
            bench = Run(till, rng)
            leaving = []
            for number in range(KEY_SETS):
                print(f"  key set {number + 1} of {KEY_SETS}", file=sys.stderr, flush=True)
                for priority in (False, True):
                    await _metered(bench, priority=priority)
                    await _vouchers(bench, priority=priority)
                leaving.append(await _asked_to_close(bench))
            together = await _closed_together(bench)
            await _left(bench, leaving)
    _tell(result, bench.costs, together)


async def _metered(bench: Run, *, priority: bool) -> None:
    agent, operator = await bench.agent(), bench.till.operator
    session = await bench.open("open_with_terms", agent, signer=operator.pubkey(), priority=priority)
    await bench.open("open_with_terms, client's salt", agent, signer=operator.pubkey(), cheap=True, priority=priority)
    account = await bench.account(session)
    more = top_up(
        payer=agent.payer.pubkey(),
        session=session,
        payer_token=agent.payer_token,
        escrow=account.escrow,
        mint=account.mint,
        amount=TOP_UP,
    )
    await bench.land("top_up", [agent.payer], more, priority=priority)
    await bench.land("settle, metered", [operator], await _settle_of(bench, session, agent), priority=priority)
    held = await bench.till.lamports(agent.payer.pubkey())
    await bench.land("close, metered", [operator], await bench.close_of(session, agent), priority=priority)
    back = await bench.till.lamports(agent.payer.pubkey()) - held
    if not priority:  # whose fee the validator leaves out of what it says it charged
        bench.costs.kept.append(bench.costs.locked["open_with_terms"][-1] - back)


async def _vouchers(bench: Run, *, priority: bool) -> None:
    agent, operator, signer = await bench.agent(), bench.till.operator, bench.keypair()
    session = await bench.open("open_with_terms, voucher mode", agent, signer=signer.pubkey(), priority=priority)
    for name, amount in (("settle, voucher", HALF), ("close, voucher", ALL)):
        voucher = ed25519_voucher(sign_voucher_as(signer, session, BaseUnits(amount)))
        ending = await (_settle_of if amount == HALF else Run.close_of)(bench, session, agent)
        await bench.land(name, [operator], voucher, ending, priority=priority)


async def _settle_of(bench: Run, session: Pubkey, agent: Agent) -> Instruction:
    return settle(
        submitter=bench.till.operator.pubkey(),
        session=session,
        account=await bench.account(session),
        payee_token=agent.payee_token,
        amount=HALF,
        charged_units=HALF // PRICE,
    )


async def _asked_to_close(bench: Run) -> tuple[Agent, Pubkey]:
    agent = await bench.agent()
    session = await bench.open("open (stock)", agent, signer=bench.keypair().pubkey(), stock=True, priority=False)
    asking = request_close(payer=agent.payer.pubkey(), session=session)
    await bench.land("request_close", [agent.payer], asking, priority=False)
    return agent, session


async def _left(bench: Run, leaving: list[tuple[Agent, Pubkey]]) -> None:
    now = await bench.till.chain.block_time()
    await time_travel(bench.till.rpc_url, now + GRACE_SECONDS + 60)
    for agent, session in leaving:
        out = withdraw(session=session, account=await bench.account(session), payer_token=agent.payer_token)
        await bench.land("withdraw", [agent.payer], out, priority=False)


async def _closed_together(bench: Run) -> Landed:
    """One transaction that closes sessions of different agents at one provider, all opened at its sponsor's cost."""
    operator, sponsor, payee = bench.till.operator, bench.keypair(), bench.keypair().pubkey()
    await airdrop(bench.till.rpc_url, bench.till.chain, sponsor.pubkey(), LAMPORTS_PER_SOL)
    agents = [await bench.agent(payee) for _ in range(SPONSORED)]
    sessions = [
        await bench.open("open_with_terms, sponsored", agent, signer=operator.pubkey(), sponsor=sponsor, priority=False)
        for agent in agents
    ]
    closes = [await bench.close_of(session, agent) for session, agent in zip(sessions, agents, strict=True)]
    return await bench.land("five closes at once", [operator], *closes, priority=False)


def _tell(result: Result, costs: Costs, together: Landed) -> None:
    peers = {"open_with_terms": PEER_OPEN_UNITS, "close, metered": PEER_CLOSE_UNITS, "close, voucher": PEER_CLOSE_UNITS}
    for name, landed in costs.landed.items():
        units = costs.units(name)
        spread = f"{name}: compute units, median of {min(units):,} to {max(units):,}"
        result.told(spread, statistics.median(units), "CU", peer=peers.get(name))
        result.told(f"{name}: size", max(one.size for one in landed), "bytes")
        result.told(f"{name}: fee without priority", landed[0].fee, "lamports")
    for name, lamports in costs.locked.items():
        result.told(f"{name}: rent locked until the close", max(lamports), "lamports")
    metered, paid, voucher = (
        costs.landed[name] for name in ("close, metered", "close, metered, priority fee", "close, voucher")
    )
    result.at_most("close, metered: compute units, most", max(one.units for one in metered), 5_500, "CU")
    result.at_most("close, metered: size", max(one.size for one in metered), 450, "bytes", peer=PEER_CLOSE_BYTES)
    result.at_most("close, metered: fee", max(one.fee for one in metered), 5_000, "lamports", peer=PEER_CLOSE_FEE)
    result.at_most("close, metered: size with a priority fee", max(one.size for one in paid), 502, "bytes")
    result.at_most("close, metered: rent not back in the same transaction", max(costs.kept), 0, "lamports")
    result.at_most("close, voucher: compute units, most", max(one.units for one in voucher), 6_000, "CU")
    result.at_most("close, voucher: size", max(one.size for one in voucher), 700, "bytes", peer=PEER_CLOSE_BYTES)
    result.at_most("close, voucher: fee", max(one.fee for one in voucher), 10_000, "lamports", peer=PEER_CLOSE_FEE)
    opened = statistics.median(costs.units("open_with_terms"))
    result.at_most("open_with_terms: compute units, median", opened, 8_000, "CU", peer=PEER_OPEN_UNITS)
    chosen = max(costs.units("open_with_terms, client's salt"))
    result.at_most("open_with_terms by the client: compute units, most", chosen, 8_000, "CU", peer=PEER_OPEN_UNITS)
    fees = costs.landed["open_with_terms"][0].fee + metered[0].fee
    result.at_most(
        f"a session of {REQUESTS:,} requests: fees", fees, 10_000, "lamports", peer=REQUESTS * PER_REQUEST_FEE
    )
    result.at_most(f"{SPONSORED} agents' closes in one transaction: size", together.size, 1_232, "bytes")
    result.told(f"{SPONSORED} agents' closes in one transaction", together.units, "CU")
    result.note("Peer: the payment-channels program's published figures (open 30,461 CU median; close 18,878 CU in a")
    result.note("713-byte transaction of 10,000 lamports; 2,672,640 lamports of rent locked about 10 minutes longer).")
    result.note("Fees as mainnet charges them: 5,000 lamports for each signature, the precompile's included.")
    result.note("A session's fees stand beside one payment transaction of 10,000 lamports for each request.")
