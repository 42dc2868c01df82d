"""Custodial sessions: the transfers that came in for them."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add who holds a session's money, and the transfers."""
    op.execute(_TABLES)


_TABLES = """
-- Custodial sessions: no escrow holds the money but the provider, and what came in are plain transfers.
ALTER TABLE session ADD COLUMN custody TEXT NOT NULL DEFAULT 'escrow' CHECK (custody IN ('escrow', 'provider'));

-- Each transfer counts for one session, once, for ever: its signature is the key. It is written down before it is sent,
-- so that no session is settled while one is still on its way.
CREATE TABLE transfer (
  signature TEXT PRIMARY KEY,
  session BIGINT NOT NULL REFERENCES session (number),
  amount BIGINT NOT NULL CHECK (amount > 0),
  last_valid_block_height BIGINT NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN ('expected', 'credited', 'dead'))
);

CREATE INDEX transfer_expected ON transfer (session) WHERE stage = 'expected';
"""
