"""The ledger's tables."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.execute(_TABLES)


_TABLES = """
-- Amounts are base units, times unix seconds, keys base58. A balance changes only through the guarded
-- UPDATEs of the store; the CHECKs say the same again, so that a wrong statement fails instead of paying.

-- A process's turn at the books. Its reservations and settlements are its own until `lease_until`, by this database's
-- clock; who lets it pass comes back under a new epoch, and what it held before is given back.
CREATE TABLE process (
  epoch BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  owner TEXT NOT NULL,
  lease_until TIMESTAMPTZ NOT NULL
);

CREATE TABLE session (
  number BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  session_id TEXT NOT NULL UNIQUE,
  offer_id TEXT NOT NULL,
  challenge_id TEXT NOT NULL,
  payer TEXT NOT NULL,
  payee TEXT NOT NULL,
  operator TEXT NOT NULL,
  authorized_signer TEXT NOT NULL,
  rent_payer TEXT NOT NULL,
  mint TEXT NOT NULL,
  decimals INTEGER NOT NULL,
  token_program TEXT NOT NULL,
  escrow TEXT NOT NULL,
  -- u64 that are only carried, never computed with: decimal text, since a BIGINT ends at 2**63 - 1.
  salt TEXT NOT NULL,
  open_slot TEXT NOT NULL,
  voucher_signer TEXT NOT NULL CHECK (voucher_signer IN ('client', 'operator')),
  deposit BIGINT NOT NULL CHECK (deposit >= 0),
  price BIGINT NOT NULL CHECK (price >= 0),
  expires_at BIGINT NOT NULL,
  grace_period BIGINT NOT NULL,
  sla_hash BYTEA NOT NULL CHECK (length(sla_hash) = 32),
  sla_json TEXT NOT NULL,
  idle_timeout BIGINT NOT NULL,
  max_free_answers BIGINT,
  creation_signature TEXT,
  created_at BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'abandoned', 'active', 'closing', 'refunded')),
  opened_at BIGINT NOT NULL DEFAULT 0,
  closure_started_at BIGINT NOT NULL DEFAULT 0,
  spent BIGINT NOT NULL DEFAULT 0 CHECK (spent BETWEEN 0 AND deposit),
  units_charged BIGINT NOT NULL DEFAULT 0 CHECK (units_charged >= 0),
  sequence BIGINT NOT NULL DEFAULT 0,
  free_answers BIGINT NOT NULL DEFAULT 0,
  usage_root BYTEA NOT NULL CHECK (length(usage_root) = 32),
  last_activity_at BIGINT NOT NULL,
  closing_reason TEXT,
  closed_at BIGINT NOT NULL DEFAULT 0,
  settled BIGINT,
  refund BIGINT,
  settlement_signature TEXT,
  answer_bytes BIGINT NOT NULL DEFAULT 0,
  -- Voucher mode: the highest voucher that was accepted, whole. Nothing is spent beyond it.
  accepted BIGINT NOT NULL DEFAULT 0 CHECK (accepted BETWEEN 0 AND deposit),
  voucher TEXT CHECK ((voucher IS NULL) = (accepted = 0)),
  -- Whether the settled session's account still lies on chain, empty.
  account_left BOOLEAN NOT NULL DEFAULT FALSE,
  -- Sum and number of the session's rows in `reservation`, so that the guard is a condition on this row alone.
  reserved BIGINT NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND deposit - spent),
  in_flight BIGINT NOT NULL DEFAULT 0 CHECK (in_flight >= 0),
  -- The process that brings a CLOSING session to its end.
  settler BIGINT,
  -- From then on the payer can withdraw; NULL while nothing sets a date.
  deadline BIGINT GENERATED ALWAYS AS (
    least(nullif(closure_started_at, 0), nullif(expires_at, 0)) + grace_period
  ) STORED,
  CHECK (voucher_signer = 'operator' OR spent <= accepted),
  CHECK ((state = 'refunded') = (settled IS NOT NULL)),
  CHECK (settled IS NULL OR (settled >= 0 AND refund >= 0 AND settled + refund = deposit))
);

CREATE INDEX session_by_state ON session (state, number);
CREATE INDEX session_left_behind ON session (number) WHERE account_left;

-- What running requests hold, and for whom. Without its process no row can be here.
CREATE TABLE reservation (
  id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  session BIGINT NOT NULL REFERENCES session (number),
  epoch BIGINT NOT NULL REFERENCES process (epoch),
  key TEXT,
  fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
  amount BIGINT NOT NULL CHECK (amount >= 0),
  UNIQUE (session, key)
);

CREATE INDEX reservation_by_epoch ON reservation (epoch);

-- The usage hash chain: `entry` is the canonical JSON that `hash` covers together with the hash before it.
CREATE TABLE usage (
  session BIGINT NOT NULL REFERENCES session (number),
  sequence BIGINT NOT NULL CHECK (sequence > 0),
  entry TEXT NOT NULL,
  hash BYTEA NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (session, sequence)
);

-- Answers kept for replay, until a day after close. A body over the caps is NULL: its receipt replays alone.
CREATE TABLE answer (
  id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  session BIGINT NOT NULL REFERENCES session (number),
  key TEXT NOT NULL,
  fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
  status INTEGER NOT NULL,
  headers TEXT NOT NULL,
  receipt TEXT NOT NULL,
  body BYTEA,
  UNIQUE (session, key)
);

-- The outbox: at most one settlement per session, its transaction stored before it is sent.
CREATE TABLE settlement (
  session BIGINT PRIMARY KEY REFERENCES session (number),
  stage TEXT NOT NULL CHECK (stage IN ('planned', 'signed', 'done')),
  amount BIGINT NOT NULL CHECK (amount >= 0),
  charged_units BIGINT NOT NULL,
  refund BIGINT NOT NULL CHECK (refund >= 0),
  usage_root BYTEA NOT NULL,
  opened_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  raw BYTEA,
  signature TEXT,
  last_valid_block_height BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  CHECK (stage <> 'signed' OR (raw IS NOT NULL AND signature IS NOT NULL))
);
"""
