"""Sessions that are open on a chain and in the books, with what they spent: what settling starts from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from retainer.chain.base import Chain, Commitment
from retainer.chain.confirm import SystemTimer, Timer
from retainer.chain.fake import FakeChain
from retainer.chain.sessions import session_account
from retainer.chain.submit import submit
from retainer.chain.testing import create_mint, mint_to, token_balance
from retainer.localnet import airdrop
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.instructions import (
    OpenWithTermsParams,
    create_ata_idempotent,
    open_with_terms,
    request_close,
    settle,
    top_up,
    withdraw,
)
from retainer.protocol.pda import derive_ata, derive_session, derive_vault
from retainer.protocol.session import SessionAccount
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import NewSession, SessionRecord, Settlement
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.clock import Clock, SystemClock
from retainer_provider.exposure import Exposure
from retainer_provider.settling.settler import Settler, SettlerOptions
from tests.books import DEPOSIT, GRACE, PRICE, SIGNATURE, ask, new_session
from tests.times import ChainClock

PAYER = Keypair.from_seed(bytes([1]) * 32)
OPERATOR = Keypair.from_seed(bytes([2]) * 32)


@dataclass
class Trade:
    """One payer, one operator that is also the payee, one mint. ``timer`` is the chain itself where it is fake."""

    chain: Chain
    ledger: Ledger
    mint: Pubkey
    timer: Timer
    clock: Clock
    token_program: Pubkey = TOKEN_PROGRAM_ID
    salts: int = 0
    known: Ledger | None = None  # the first books, where these are others
    rent_payer: Keypair = PAYER

    def exposure(self, cap: int = 10 * DEPOSIT, commitment: Commitment = Commitment.CONFIRMED) -> Exposure:
        """What counts when; by default a fork may take all of a session's deposit back."""
        return Exposure(chain=self.chain, commitment=commitment, caps={"basic": cap})

    def settler(self, **options: object) -> Settler:
        """A settler as a freshly started process has it."""
        return Settler(
            chain=self.chain,
            ledger=self.ledger,
            operator=OPERATOR,
            clock=self.clock,
            timer=self.timer,
            options=replace(SettlerOptions(poll_seconds=1.0), **options),  # type: ignore[arg-type]
        )

    async def open(self, *, requests: int = 0, expires_at: int = 0, idle_timeout: int = 0) -> str:
        """A session of 1.0 at 0.008, ACTIVE in the books, with so many requests charged; returns its id."""
        self.salts += 1
        params = OpenWithTermsParams(
            payer=PAYER.pubkey(),
            rent_payer=self.rent_payer.pubkey(),
            payee=OPERATOR.pubkey(),
            operator=OPERATOR.pubkey(),
            mint=self.mint,
            authorized_signer=OPERATOR.pubkey(),
            salt=self.salts,
            deposit=DEPOSIT,
            grace_period=GRACE,
            open_slot=await self.chain.slot(),
            payer_token=self.payer_token,
            token_program=self.token_program,
            price_per_unit=PRICE,
            expires_at=expires_at,
        )
        await self.run([open_with_terms(params)], *dict.fromkeys((PAYER, self.rent_payer)))
        address, _ = derive_session(params.seeds)
        account = await session_account(self.chain, address)
        assert account is not None
        new = new_session(
            self.salts,
            operator=OPERATOR.pubkey(),
            session_id=str(address),
            payer=params.payer,
            payee=params.payee,
            rent_payer=params.rent_payer,
            mint=self.mint,
            token_program=self.token_program,
            escrow=derive_vault(address)[0],
            open_slot=params.open_slot,
            expires_at=expires_at,
            idle_timeout=idle_timeout,
            created_at=self.clock.now(),
        )
        await self.ledger.admit(new)
        await self.ledger.activate(new.session_id, account, SIGNATURE, self.clock.now())
        for number in range(requests):
            await ask(self.ledger, new.session_id, f"{number}")
        return new.session_id

    async def closing(self, *, requests: int = 30) -> str:
        """The same, closing."""
        session_id = await self.open(requests=requests)
        await self.ledger.begin_close(session_id, "asked", self.clock.now())
        return session_id

    async def run(self, instructions: list[Instruction], *signers: Keypair) -> str:
        """Land a transaction of someone's own."""
        return await submit(self.chain, instructions, signers, clock=self.timer)

    async def request_close(self, session_id: str) -> None:
        """The payer asks for its exit."""
        await self.run([request_close(payer=PAYER.pubkey(), session=Pubkey.from_string(session_id))], PAYER)

    async def withdraw(self, session_id: str) -> str:
        """The payer leaves after the deadline."""
        address, account = Pubkey.from_string(session_id), await self.account(session_id)
        assert account is not None
        leave = withdraw(
            session=address, account=account, payer_token=self.payer_token, token_program=self.token_program
        )
        return await self.run([leave], PAYER)

    async def top_up(self, session_id: str, amount: int) -> None:
        """The payer adds to its deposit."""
        address = Pubkey.from_string(session_id)
        add = top_up(
            payer=PAYER.pubkey(),
            session=address,
            payer_token=self.payer_token,
            escrow=derive_vault(address)[0],
            mint=self.mint,
            amount=amount,
            token_program=self.token_program,
        )
        await self.run([add], PAYER)

    async def pay_out(self, session_id: str, units: int) -> None:
        """The operator settles on chain past the books."""
        account = await self.account(session_id)
        assert account is not None
        create = create_ata_idempotent(
            funder=OPERATOR.pubkey(), owner=OPERATOR.pubkey(), mint=self.mint, token_program=self.token_program
        )
        pay = settle(
            submitter=OPERATOR.pubkey(),
            session=Pubkey.from_string(session_id),
            account=account,
            payee_token=self.payee_token,
            amount=units * PRICE,
            charged_units=units,
            token_program=self.token_program,
        )
        await self.run([create, pay], OPERATOR)

    async def mention(self, address: Pubkey) -> None:
        """Someone names the address in a transaction of their own, which does nothing to it."""
        gift = transfer(TransferParams(from_pubkey=PAYER.pubkey(), to_pubkey=OPERATOR.pubkey(), lamports=self.salts))
        self.salts += 1
        named = AccountMeta(address, is_signer=False, is_writable=False)
        await self.run([Instruction(gift.program_id, gift.data, [*gift.accounts, named])], PAYER)

    @asynccontextmanager
    async def other_books(self, path: Path) -> AsyncIterator["Trade"]:
        """The same trade with books that know nothing yet."""
        ledger = await SqliteLedger.open(path)
        try:
            yield replace(self, ledger=ledger, known=self.ledger)
        finally:
            await ledger.aclose()

    async def opening_of(self, session_id: str) -> NewSession:
        """The opening as the first books were told of it."""
        record = await (self.known or self.ledger).session(session_id)
        assert record is not None
        return NewSession(**{name: getattr(record, name) for name in NewSession.__dataclass_fields__})

    @property
    def payer_token(self) -> Pubkey:
        return derive_ata(PAYER.pubkey(), self.mint, self.token_program)

    @property
    def payee_token(self) -> Pubkey:
        return derive_ata(OPERATOR.pubkey(), self.mint, self.token_program)

    async def balances(self) -> tuple[int, int]:
        """What payee and payer hold in their token accounts."""
        payee = await token_balance(self.chain, OPERATOR.pubkey(), self.mint, token_program=self.token_program)
        payer = await token_balance(self.chain, PAYER.pubkey(), self.mint, token_program=self.token_program)
        return payee, payer

    async def account(self, session_id: str) -> SessionAccount | None:
        """The session on chain."""
        return await session_account(self.chain, Pubkey.from_string(session_id), commitment=Commitment.PROCESSED)

    async def record(self, session_id: str) -> SessionRecord:
        """The session in the books."""
        record = await self.ledger.session(session_id)
        assert record is not None
        return record

    async def settlement(self, session_id: str) -> Settlement:
        """The session's settlement in the books."""
        settlement = await self.ledger.settlement(session_id)
        assert settlement is not None
        return settlement


FUNDS = 1_000_000_000


@asynccontextmanager
async def trade_on(chain: FakeChain, path: Path, *, token_program: Pubkey = TOKEN_PROGRAM_ID) -> AsyncIterator[Trade]:
    """A trade on a fake chain; the payee has no token account yet."""
    chain.fund(PAYER.pubkey())
    chain.fund(OPERATOR.pubkey())
    mint = await create_mint(chain, PAYER, token_program=token_program, clock=chain)
    await mint_to(chain, PAYER, owner=PAYER.pubkey(), mint=mint, amount=FUNDS, token_program=token_program, clock=chain)
    ledger = await SqliteLedger.open(path)
    try:
        yield Trade(chain, ledger, mint, chain, ChainClock(chain), token_program)
    finally:
        await ledger.aclose()


@asynccontextmanager
async def trade_at(rpc_url: str, chain: Chain, path: Path, token_program: Pubkey) -> AsyncIterator[Trade]:
    """A trade on a real validator, with new books at the path."""
    for keypair in (PAYER, OPERATOR):
        await airdrop(rpc_url, chain, keypair.pubkey(), 1_000_000_000)
    mint = await create_mint(chain, PAYER, token_program=token_program)
    await mint_to(chain, PAYER, owner=PAYER.pubkey(), mint=mint, amount=FUNDS, token_program=token_program)
    ledger = await SqliteLedger.open(path)
    try:
        yield Trade(chain, ledger, mint, SystemTimer(), SystemClock(), token_program)
    finally:
        await ledger.aclose()
