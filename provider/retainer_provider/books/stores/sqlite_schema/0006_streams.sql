-- What of a running stream has left, written before it leaves: a crash in the middle of it releases nothing of this, the
-- row is its reservation's at the next start. `progress` says what the stream costs if nothing more of it leaves.
CREATE TABLE stream (
  reservation INTEGER PRIMARY KEY,
  session INTEGER NOT NULL REFERENCES session (number),
  key TEXT,
  fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
  amount INTEGER NOT NULL CHECK (amount >= 0),
  progress TEXT NOT NULL
) STRICT;
