-- Custodial sessions: no escrow holds the money but the provider, and what came in are plain transfers.

ALTER TABLE session ADD COLUMN custody TEXT NOT NULL DEFAULT 'escrow' CHECK (custody IN ('escrow', 'provider'));

-- Each transfer counts for one session, once, for ever: its signature is the key. It is written down before it is sent,
-- so that no session is settled while one is still on its way.
CREATE TABLE transfer (
  signature TEXT NOT NULL PRIMARY KEY,
  session INTEGER NOT NULL REFERENCES session (number),
  amount INTEGER NOT NULL CHECK (amount > 0),
  last_valid_block_height INTEGER NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN ('expected', 'credited', 'dead'))
) STRICT;

CREATE INDEX transfer_expected ON transfer (session) WHERE stage = 'expected';
