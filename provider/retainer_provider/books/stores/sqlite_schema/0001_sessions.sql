-- Amounts are base units, times unix seconds, keys base58. A balance changes only through the guarded
-- UPDATEs of the store; the CHECKs say the same again, so that a wrong statement fails instead of paying.

CREATE TABLE session (
  number INTEGER PRIMARY KEY,
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
  -- u64 that are only carried, never computed with: decimal text, since an INTEGER ends at 2**63 - 1.
  salt TEXT NOT NULL,
  open_slot TEXT NOT NULL,
  voucher_signer TEXT NOT NULL CHECK (voucher_signer IN ('client', 'operator')),
  deposit INTEGER NOT NULL CHECK (deposit >= 0),
  price INTEGER NOT NULL CHECK (price >= 0),
  expires_at INTEGER NOT NULL,
  grace_period INTEGER NOT NULL,
  sla_hash BLOB NOT NULL CHECK (length(sla_hash) = 32),
  sla_json TEXT NOT NULL,
  idle_timeout INTEGER NOT NULL,
  max_free_answers INTEGER,
  creation_signature TEXT,
  created_at INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'abandoned', 'active', 'closing', 'refunded')),
  opened_at INTEGER NOT NULL DEFAULT 0,
  closure_started_at INTEGER NOT NULL DEFAULT 0,
  spent INTEGER NOT NULL DEFAULT 0 CHECK (spent BETWEEN 0 AND deposit),
  units_charged INTEGER NOT NULL DEFAULT 0 CHECK (units_charged >= 0),
  sequence INTEGER NOT NULL DEFAULT 0,
  free_answers INTEGER NOT NULL DEFAULT 0,
  usage_root BLOB NOT NULL CHECK (length(usage_root) = 32),
  last_activity_at INTEGER NOT NULL,
  closing_reason TEXT,
  closed_at INTEGER NOT NULL DEFAULT 0,
  settled INTEGER,
  refund INTEGER,
  settlement_signature TEXT,
  answer_bytes INTEGER NOT NULL DEFAULT 0,
  -- From then on the payer can withdraw; NULL while nothing sets a date.
  deadline INTEGER AS (
    coalesce(
      min(nullif(closure_started_at, 0), nullif(expires_at, 0)),
      nullif(closure_started_at, 0), nullif(expires_at, 0)
    ) + grace_period
  ) VIRTUAL,
  CHECK ((state = 'refunded') = (settled IS NOT NULL)),
  CHECK (settled IS NULL OR (settled >= 0 AND refund >= 0 AND settled + refund = deposit))
) STRICT;

CREATE INDEX session_by_state ON session (state, number);

-- The usage hash chain: `entry` is the canonical JSON that `hash` covers together with the hash before it.
CREATE TABLE usage (
  session INTEGER NOT NULL REFERENCES session (number),
  sequence INTEGER NOT NULL CHECK (sequence > 0),
  entry TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (session, sequence)
) STRICT, WITHOUT ROWID;

-- Answers kept for replay, until a day after close. A body over the caps is NULL: its receipt replays alone.
CREATE TABLE answer (
  id INTEGER PRIMARY KEY,
  session INTEGER NOT NULL REFERENCES session (number),
  key TEXT NOT NULL,
  fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
  status INTEGER NOT NULL,
  headers TEXT NOT NULL,
  receipt TEXT NOT NULL,
  body BLOB,
  UNIQUE (session, key)
) STRICT;

-- The outbox: at most one settlement per session, its transaction stored before it is sent.
CREATE TABLE settlement (
  session INTEGER PRIMARY KEY REFERENCES session (number),
  stage TEXT NOT NULL CHECK (stage IN ('planned', 'signed', 'done')),
  amount INTEGER NOT NULL CHECK (amount >= 0),
  charged_units INTEGER NOT NULL,
  refund INTEGER NOT NULL CHECK (refund >= 0),
  usage_root BLOB NOT NULL,
  opened_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  raw BLOB,
  signature TEXT,
  last_valid_block_height INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  CHECK (stage <> 'signed' OR (raw IS NOT NULL AND signature IS NOT NULL))
) STRICT;
