-- People in browsers: what they were asked to fund, the tokens that act for a session, and the asks given away.

CREATE TABLE invoice (
  invoice_id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('open', 'topup')),
  offer_id TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0),
  terms TEXT NOT NULL,
  salt TEXT NOT NULL,
  deposit_before INTEGER NOT NULL,
  payer TEXT,
  session_id TEXT,
  stage TEXT NOT NULL CHECK (stage IN ('waiting', 'sent', 'active', 'underpaid', 'rejected', 'replaced')),
  signature TEXT,
  received INTEGER,
  reason TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX invoice_session ON invoice (session_id);
CREATE INDEX invoice_undecided ON invoice (created_at) WHERE stage IN ('waiting', 'sent');

-- The SHA-256 of a token, in hex: who reads the books can act for nobody.
CREATE TABLE access_token (
  digest TEXT NOT NULL PRIMARY KEY,
  session_id TEXT,
  invoice_id TEXT,
  stage TEXT NOT NULL CHECK (stage IN ('standby', 'fresh', 'live', 'revoked')),
  created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX access_token_session ON access_token (session_id);
CREATE INDEX access_token_invoice ON access_token (invoice_id);

-- Visitors and addresses are keyed hashes of the service's secret, kept for the day they are counted for.
CREATE TABLE free_ask (
  ask_id TEXT NOT NULL PRIMARY KEY,
  day INTEGER NOT NULL,
  visitor TEXT NOT NULL,
  address TEXT NOT NULL
) STRICT;

CREATE INDEX free_ask_visitor ON free_ask (day, visitor);
CREATE INDEX free_ask_address ON free_ask (day, address);

CREATE INDEX session_payer ON session (payer);
