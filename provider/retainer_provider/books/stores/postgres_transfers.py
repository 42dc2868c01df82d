"""Custodial deposits in PostgreSQL: expected before they are sent, credited once, dead when they can never land."""

from typing import Final

from retainer_provider.books.outcomes import CreditOutcome, ExpectOutcome
from retainer_provider.books.records import ExpectedTransfer, ledger_amount
from retainer_provider.books.stores.postgres_rows import Connection, all_rows, first_row

# Locked first: a close that begins at the same time waits for the transfer, or bars it.
_LOCK: Final = "SELECT state FROM session WHERE session_id = %(session_id)s FOR NO KEY UPDATE"
# Novelty is the primary key's business, not a look before the write: of callers at once, one inserts (F01).
_EXPECT: Final = """
  INSERT INTO transfer (signature, session, amount, last_valid_block_height, stage)
  SELECT %(signature)s, number, %(amount)s, %(height)s, 'expected' FROM session
  WHERE session_id = %(session_id)s AND custody = 'provider' AND state IN ('pending', 'active')
  ON CONFLICT (signature) DO NOTHING RETURNING session"""
_KNOWN: Final = """
  SELECT session_id, stage, state FROM transfer JOIN session ON number = session WHERE signature = %(signature)s"""
_CREDIT: Final = """
  UPDATE transfer SET stage = 'credited'
  WHERE signature = %(signature)s AND stage = 'expected'
    AND session = (SELECT number FROM session
                   WHERE session_id = %(session_id)s AND state IN ('pending', 'active', 'closing'))
  RETURNING amount"""
_ADD: Final = """
  UPDATE session SET
    deposit = CASE state WHEN 'pending' THEN %(amount)s ELSE deposit + %(amount)s END,
    opened_at = CASE state WHEN 'pending' THEN %(now)s ELSE opened_at END,
    creation_signature = CASE state WHEN 'pending' THEN %(signature)s ELSE creation_signature END,
    state = CASE state WHEN 'pending' THEN 'active' ELSE state END,
    last_activity_at = %(now)s
  WHERE session_id = %(session_id)s AND state IN ('pending', 'active', 'closing')"""
_DEAD: Final = "UPDATE transfer SET stage = 'dead' WHERE signature = %(signature)s AND stage = 'expected'"
_EXPECTED: Final = """
  SELECT signature, amount, last_valid_block_height FROM transfer
  WHERE stage = 'expected' AND session = (SELECT number FROM session WHERE session_id = %(session_id)s)"""


async def expect_transfer(connection: Connection, session_id: str, transfer: ExpectedTransfer) -> ExpectOutcome:
    """See ``Ledger.expect_transfer``."""
    bindings = {
        "session_id": session_id,
        "signature": transfer.signature,
        "amount": ledger_amount(transfer.amount),
        "height": transfer.last_valid_block_height,
    }
    await first_row(connection, _LOCK, {"session_id": session_id})
    if await first_row(connection, _EXPECT, bindings):
        return ExpectOutcome.EXPECTED
    known = await first_row(connection, _KNOWN, {"signature": transfer.signature})
    if known is None:
        return ExpectOutcome.NOT_OPEN
    if known[0] != session_id:
        return ExpectOutcome.REPLAYED
    return ExpectOutcome.DEAD if known[1] == "dead" else ExpectOutcome.KNOWN


async def credit_transfer(connection: Connection, session_id: str, signature: str, now: int) -> CreditOutcome:
    """See ``Ledger.credit_transfer``."""
    bindings = {"session_id": session_id, "signature": signature}
    await first_row(connection, _LOCK, {"session_id": session_id})
    credited = await first_row(connection, _CREDIT, bindings)
    if credited is not None:
        await connection.execute(_ADD, bindings | {"amount": credited[0], "now": now})
        return CreditOutcome.CREDITED
    known = await first_row(connection, _KNOWN, {"signature": signature})
    already = known is not None and known[:2] == (session_id, "credited")
    return CreditOutcome.ALREADY if already else CreditOutcome.REFUSED


async def drop_transfer(connection: Connection, signature: str) -> None:
    """See ``Ledger.drop_transfer``."""
    await connection.execute(_DEAD, {"signature": signature})


async def expected_transfers(connection: Connection, session_id: str) -> list[ExpectedTransfer]:
    """See ``Ledger.expected_transfers``."""
    rows = await all_rows(connection, _EXPECTED, {"session_id": session_id})
    return [ExpectedTransfer(*row) for row in rows]
