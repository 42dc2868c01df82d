-- What running requests hold, in memory of the one writing connection: a crash releases it all but what streams have
-- in `stream`, and it needs no sync. The guard on the deposit reads it in the same statement that adds to it.

CREATE TEMP TABLE reservation (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: a stale reservation must not name a later one
  session INTEGER NOT NULL,
  key TEXT,
  fingerprint BLOB NOT NULL,
  amount INTEGER NOT NULL CHECK (amount >= 0),
  cut INTEGER NOT NULL DEFAULT 0, -- a stream of which something has left, and nobody sends more
  UNIQUE (session, key)
) STRICT;

CREATE TEMP TABLE held (
  session INTEGER PRIMARY KEY,
  amount INTEGER NOT NULL CHECK (amount >= 0),
  requests INTEGER NOT NULL CHECK (requests >= 0)
) STRICT;
