"""A provider's history to be audited: real runs of the compiled program in LiteSVM, recorded and read again."""

import json
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from retainer.chain.base import AccountInfo, Commitment, TransactionInfo
from retainer.chain.fake import FakeChain, Fate
from retainer.chain.raw import decode_signed
from retainer.chain.sessions import session_account
from retainer.chain.testing import create_ata, create_mint, mint_to
from retainer.protocol.constants import CLOCK_SYSVAR_ID
from retainer.protocol.instructions import OpenWithTermsParams, close, open_with_terms
from retainer.protocol.pda import derive_ata, derive_session

DEPOSIT: Final = 1_000_000
PRICE: Final = 8_000
_PAYERS: Final = 20
_GRACE: Final = 900
_SLOTS_BETWEEN: Final = 20  # so that a large history is spread over days
_SCHEMA: Final = """
CREATE TABLE landed (
    number INTEGER PRIMARY KEY, signature TEXT UNIQUE, slot INTEGER, at INTEGER, logs TEXT, raw BLOB
);
CREATE TABLE mention (address TEXT, number INTEGER, PRIMARY KEY (address, number)) WITHOUT ROWID;
CREATE TABLE account (address TEXT PRIMARY KEY, owner TEXT, lamports INTEGER, data BLOB);
"""


@dataclass(slots=True)
class Bazaar:
    """Sessions that one operator sold on a fake chain; what they paid and gave back, in base units."""

    chain: FakeChain
    operator: Keypair
    mint: Pubkey
    payers: list[Keypair]
    rng: random.Random
    paid: int = 0
    refunded: int = 0
    landed: list[str] = field(default_factory=list)

    @classmethod
    async def held(cls, sessions: int, seed: int) -> "Bazaar":
        """So many sessions, opened and closed by different payers and with different amounts."""
        chain, authority, operator = FakeChain(), Keypair(), Keypair()
        payers = [Keypair() for _ in range(_PAYERS)]
        for person in (authority, operator, *payers):
            chain.fund(person.pubkey(), 10**12)
        mint = await create_mint(chain, authority, clock=chain)
        await create_ata(chain, authority, owner=operator.pubkey(), mint=mint, clock=chain)
        for payer in payers:
            await mint_to(chain, authority, owner=payer.pubkey(), mint=mint, amount=10**12, clock=chain)
        bazaar = cls(chain, operator, mint, payers, random.Random(seed))  # noqa: S311  amounts, repeatable by seed
        for number in range(sessions):
            await bazaar.sell(number)
        return bazaar

    async def sell(self, number: int) -> None:
        """One session, from its opening to its close."""
        payer, units = self.payers[number % _PAYERS], self.rng.randrange(1, DEPOSIT // PRICE)
        params = OpenWithTermsParams(
            payer=payer.pubkey(),
            rent_payer=payer.pubkey(),
            payee=self.operator.pubkey(),
            operator=self.operator.pubkey(),
            mint=self.mint,
            authorized_signer=self.operator.pubkey(),
            salt=number,
            deposit=DEPOSIT,
            grace_period=_GRACE,
            open_slot=await self.chain.slot(),
            payer_token=derive_ata(payer.pubkey(), self.mint),
            price_per_unit=PRICE,
        )
        session, _ = derive_session(params.seeds)
        await self._land(open_with_terms(params), payer)
        account = await session_account(self.chain, session)
        if account is None:
            raise RuntimeError(f"session {number} did not open")
        self.chain.advance(slots=_SLOTS_BETWEEN)
        settle_and_refund = close(
            submitter=self.operator.pubkey(),
            session=session,
            account=account,
            payee_token=derive_ata(self.operator.pubkey(), self.mint),
            payer_token=params.payer_token,
            amount=units * PRICE,
            charged_units=units,
            usage_root=self.rng.randbytes(32),
        )
        await self._land(settle_and_refund, self.operator)
        self.paid += units * PRICE
        self.refunded += DEPOSIT - units * PRICE

    async def _land(self, instruction: Instruction, signer: Keypair) -> None:
        blockhash = (await self.chain.latest_blockhash()).blockhash
        transaction = Transaction([signer], Message([instruction], signer.pubkey()), blockhash)
        self.chain.next_send(Fate.UNCHECKED)  # a simulation before each would take as long again
        self.landed.append(await self.chain.send(bytes(transaction)))

    async def record(self, path: Path) -> int:
        """Write the history to a file; returns the number of transactions, each of which took effect."""
        with sqlite3.connect(path) as file:
            file.executescript(_SCHEMA)
            for number, signature in enumerate(self.landed):
                info = await self.chain.transaction(signature)
                if info is None or info.error is not None:
                    raise RuntimeError(f"transaction {signature} came to nothing: {info}")
                landed = (number, signature, info.slot, info.block_time, json.dumps(info.logs), info.raw)
                file.execute("INSERT INTO landed VALUES (?, ?, ?, ?, ?, ?)", landed)
                mentions = [(str(key), number) for key in decode_signed(info.raw).message.account_keys]
                file.executemany("INSERT INTO mention VALUES (?, ?)", mentions)
            for address in (self.mint, CLOCK_SYSVAR_ID):
                account = await self.chain.account(address)
                if account is not None:
                    row = (str(address), str(account.owner), account.lamports, account.data)
                    file.execute("INSERT INTO account VALUES (?, ?, ?, ?)", row)
        file.close()
        return len(self.landed)


class Recorded:
    """A recorded history, read as a node's; nothing in it changes any more."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    async def slot(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The last slot that was recorded."""
        (slot,) = self._file.execute("SELECT max(slot) FROM landed").fetchone()
        return int(slot)

    async def accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment = Commitment.CONFIRMED,
        min_slot: int | None = None,
    ) -> list[AccountInfo | None]:
        """The few accounts that outlived the history."""
        slot, found = await self.slot(), list[AccountInfo | None]()
        for address in addresses:
            query = "SELECT owner, lamports, data FROM account WHERE address = ?"
            row = self._file.execute(query, (str(address),)).fetchone()
            found.append(row and AccountInfo(address, Pubkey.from_string(row[0]), row[1], row[2], slot))
        return found

    async def program_accounts(
        self, program: Pubkey, *, offset: int, key: Pubkey, commitment: Commitment = Commitment.CONFIRMED
    ) -> list[AccountInfo]:
        """None: every session of the history was closed."""
        return []

    async def signatures_for(self, address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        """Signatures of transactions that name the address, newest first."""
        query = """
        SELECT signature FROM mention JOIN landed USING (number) WHERE address = ?
            AND mention.number < coalesce((SELECT number FROM landed WHERE signature = ?), 1 << 62)
        ORDER BY mention.number DESC LIMIT ?
        """
        return [row[0] for row in self._file.execute(query, (str(address), before, limit))]

    async def transaction(
        self, signature: str, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> TransactionInfo | None:
        """A transaction as it was recorded."""
        query = "SELECT slot, at, logs, raw FROM landed WHERE signature = ?"
        row = self._file.execute(query, (signature,)).fetchone()
        if row is None:
            return None
        slot, at, logs, raw = row
        return TransactionInfo(signature, slot, at, None, tuple(json.loads(logs)), raw, 5_000, None)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
