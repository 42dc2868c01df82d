"""Custodial deposits in SQL: expected before they are sent, credited once, dead when they can never land."""

from typing import Final

import apsw

from retainer_provider.books.outcomes import CreditOutcome, ExpectOutcome
from retainer_provider.books.records import ExpectedTransfer, ledger_amount
from retainer_provider.books.stores.sqlite_rows import first_row

# Novelty is the primary key's business, not a look before the write: of callers at once, one inserts (F01).
_EXPECT: Final = """
  INSERT INTO transfer (signature, session, amount, last_valid_block_height, stage)
  SELECT :signature, number, :amount, :height, 'expected' FROM session
  WHERE session_id = :session_id AND custody = 'provider' AND state IN ('pending', 'active')
  ON CONFLICT (signature) DO NOTHING RETURNING session"""
_KNOWN: Final = """
  SELECT session_id, stage, state FROM transfer JOIN session ON number = session WHERE signature = ?"""
_CREDIT: Final = """
  UPDATE transfer SET stage = 'credited'
  WHERE signature = :signature AND stage = 'expected'
    AND session = (SELECT number FROM session
                   WHERE session_id = :session_id AND state IN ('pending', 'active', 'closing'))
  RETURNING amount"""
_ADD: Final = """
  UPDATE session SET
    deposit = CASE state WHEN 'pending' THEN :amount ELSE deposit + :amount END,
    opened_at = CASE state WHEN 'pending' THEN :now ELSE opened_at END,
    creation_signature = CASE state WHEN 'pending' THEN :signature ELSE creation_signature END,
    state = CASE state WHEN 'pending' THEN 'active' ELSE state END,
    last_activity_at = :now
  WHERE session_id = :session_id AND state IN ('pending', 'active', 'closing')"""
_DEAD: Final = "UPDATE transfer SET stage = 'dead' WHERE signature = ? AND stage = 'expected'"
_EXPECTED: Final = """
  SELECT signature, amount, last_valid_block_height FROM transfer
  WHERE stage = 'expected' AND session = (SELECT number FROM session WHERE session_id = ?)"""


def expect_transfer(connection: apsw.Connection, session_id: str, transfer: ExpectedTransfer) -> ExpectOutcome:
    """See ``Ledger.expect_transfer``."""
    bindings = {
        "session_id": session_id,
        "signature": transfer.signature,
        "amount": ledger_amount(transfer.amount),
        "height": transfer.last_valid_block_height,
    }
    if first_row(connection, _EXPECT, bindings):
        return ExpectOutcome.EXPECTED
    known = first_row(connection, _KNOWN, (transfer.signature,))
    if known is None:
        return ExpectOutcome.NOT_OPEN
    if known[0] != session_id:
        return ExpectOutcome.REPLAYED
    return ExpectOutcome.DEAD if known[1] == "dead" else ExpectOutcome.KNOWN


def credit_transfer(connection: apsw.Connection, session_id: str, signature: str, now: int) -> CreditOutcome:
    """See ``Ledger.credit_transfer``."""
    bindings = {"session_id": session_id, "signature": signature, "now": now}
    credited = first_row(connection, _CREDIT, {"session_id": session_id, "signature": signature})
    if credited is not None:
        connection.execute(_ADD, bindings | {"amount": credited[0]})
        return CreditOutcome.CREDITED
    known = first_row(connection, _KNOWN, (signature,))
    already = known is not None and known[:2] == (session_id, "credited")
    return CreditOutcome.ALREADY if already else CreditOutcome.REFUSED


def drop_transfer(connection: apsw.Connection, signature: str) -> None:
    """See ``Ledger.drop_transfer``."""
    connection.execute(_DEAD, (signature,))


def expected_transfers(connection: apsw.Connection, session_id: str) -> list[ExpectedTransfer]:
    """See ``Ledger.expected_transfers``."""
    return [ExpectedTransfer(*row) for row in connection.execute(_EXPECTED, (session_id,))]
