"""compute-units: what opening and closing cost on a validator, without any compute-budget instruction."""

import random
import statistics

from solders.keypair import Keypair

from retainer.chain.base import Commitment
from retainer.chain.rpc import RpcChain
from retainer.chain.sessions import session_account
from retainer.chain.testing import create_ata, create_mint
from retainer.localnet import LAMPORTS_PER_SOL, Localnet, airdrop
from retainer.protocol.instructions import (
    OpenParams,
    OpenWithTermsParams,
    close,
    create_ata_idempotent,
    open_session,
    open_with_terms,
)
from retainer.protocol.pda import derive_ata, derive_session
from tools.evidence.report import Report
from tools.till import Landed, Till

SESSIONS = 20
DEPOSIT, AMOUNT, PRICE = 1_000_000, 240_000, 8_000
SLOT_MS = 100
CLOSE_LIMIT, OPEN_WITH_TERMS_LIMIT, STOCK_OPEN_LIMIT = 5_500, 9_000, 25_000
BASE_FEE = 5_000


async def run(report: Report) -> None:
    """Open and close sessions of random keys both ways, and hold the figures to their limits."""
    if report.sabotage:
        report.plant("each close also makes sure that the payee's token account exists")
    rng = random.Random(report.seed)  # noqa: S311  keys that hold nothing, repeatable by seed
    with Localnet.start(slot_ms=SLOT_MS) as localnet:
        async with RpcChain(localnet.rpc_url) as chain:
            authority, operator = _keypair(rng), _keypair(rng)
            for key in (authority, operator):
                await airdrop(localnet.rpc_url, chain, key.pubkey(), 100 * LAMPORTS_PER_SOL)
            mint = await create_mint(chain, authority)
            bench = Till(localnet.rpc_url, chain, authority, mint, operator)
            terms = [
                await _session(bench, rng, stock=False, careful=report.sabotage)
                for _ in range(report.count(SESSIONS, 8))
            ]
            stock = [
                await _session(bench, rng, stock=True, careful=report.sabotage)
                for _ in range(report.count(SESSIONS, 8))
            ]
    closes = [close for _, close, _ in terms + stock]
    _tell(report, "open_with_terms", [opening for opening, _, _ in terms])
    _tell(report, "stock open", [opening for opening, _, _ in stock])
    _tell(report, "close", closes)
    opened = statistics.median(opening.units for opening, _, _ in terms)
    report.at_most("open_with_terms, median compute units", opened, OPEN_WITH_TERMS_LIMIT)
    report.at_most("stock open with its ATA, median", statistics.median(o.units for o, _, _ in stock), STOCK_OPEN_LIMIT)
    report.at_most("close, maximum", max(closing.units for closing in closes), CLOSE_LIMIT)
    report.equal("signatures of a close", {closing.signatures for closing in closes}, {1})
    report.equal("fee of a close, lamports", {closing.fee for closing in closes}, {BASE_FEE})
    report.equal("rent not back with its payer, lamports", sum(kept for _, _, kept in terms + stock), 0)


async def _session(bench: Till, rng: random.Random, *, stock: bool, careful: bool) -> tuple[Landed, Landed, int]:
    """One session's opening and close, and the lamports that its rent payer did not get back."""
    payer, payee = _keypair(rng), _keypair(rng)
    submitter = payee if stock else bench.operator
    payer_token = await bench.funded(payer, DEPOSIT)
    await create_ata(bench.chain, bench.authority, owner=payee.pubkey(), mint=bench.mint)
    if stock:
        await airdrop(bench.rpc_url, bench.chain, payee.pubkey(), LAMPORTS_PER_SOL)
    before = await bench.lamports(payer.pubkey())
    slot = await bench.chain.slot(commitment=Commitment.CONFIRMED)
    params = OpenParams(
        payer=payer.pubkey(),
        rent_payer=payer.pubkey(),
        payee=payee.pubkey(),
        mint=bench.mint,
        authorized_signer=submitter.pubkey(),
        salt=rng.getrandbits(64),
        deposit=DEPOSIT,
        grace_period=900,
        open_slot=slot,
        payer_token=payer_token,
    )
    if stock:
        opening = await bench.land([payer], open_session(params))
    else:
        fields = {name: getattr(params, name) for name in OpenParams.__slots__}
        with_terms = OpenWithTermsParams(**fields, operator=submitter.pubkey(), price_per_unit=PRICE, batch=True)
        opening = await bench.land([payer], open_with_terms(with_terms))
    address, _ = derive_session(params.seeds)
    account = await session_account(bench.chain, address)
    if account is None:
        raise RuntimeError(f"{address} was not opened")
    ending = close(
        submitter=submitter.pubkey(),
        session=address,
        account=account,
        payee_token=derive_ata(payee.pubkey(), bench.mint),
        payer_token=payer_token,
        amount=AMOUNT,
        charged_units=AMOUNT // PRICE,
        usage_root=bytes(32),
        batch=True,
    )
    extra = [create_ata_idempotent(funder=submitter.pubkey(), owner=payee.pubkey(), mint=bench.mint)] if careful else []
    closing = await bench.land([submitter], *extra, ending)
    return opening, closing, before - opening.fee - await bench.lamports(payer.pubkey())


def _tell(report: Report, name: str, landed: list[Landed]) -> None:
    units = [one.units for one in landed]
    report.told(
        f"{name}: compute units min / median / max", f"{min(units)} / {statistics.median(units)} / {max(units)}"
    )
    report.told(f"{name}: bytes", max(one.size for one in landed))
    report.fact(f"{name} signatures", [one.signature for one in landed])


def _keypair(rng: random.Random) -> Keypair:
    return Keypair.from_seed(rng.randbytes(32))
