-- The log in the order in which it is written, with an index beside it: entries of many sessions that are written
-- together lie together, where each session's own place in the table was a page of its own to write and sync.

CREATE TABLE usage_in_order (
  id INTEGER PRIMARY KEY,
  session INTEGER NOT NULL REFERENCES session (number),
  sequence INTEGER NOT NULL CHECK (sequence > 0),
  entry TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  UNIQUE (session, sequence)
) STRICT;

INSERT INTO usage_in_order (session, sequence, entry, hash)
  SELECT session, sequence, entry, hash FROM usage ORDER BY session, sequence;

DROP TABLE usage;

ALTER TABLE usage_in_order RENAME TO usage;
