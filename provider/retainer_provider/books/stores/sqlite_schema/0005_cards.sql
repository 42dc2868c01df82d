-- Quick session cards: small conversations, each paid by one session. Times are unix milliseconds, leases seconds of
-- the store's own clock.

CREATE TABLE card (
  id TEXT PRIMARY KEY CHECK (length(id) = 29),
  session TEXT NOT NULL REFERENCES session (session_id),
  scope TEXT NOT NULL CHECK (scope IN ('main', 'card')),  -- main: the thread of the panel's ask bar, one per responder
  responder TEXT NOT NULL,
  creator TEXT NOT NULL,
  request_key TEXT,  -- of the request that made it, so that a repeated one makes no second
  title TEXT,
  title_source TEXT CHECK (title_source IN ('person', 'responder')),
  preview TEXT NOT NULL,
  lines INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  archived_at INTEGER NOT NULL DEFAULT 0,
  CHECK ((title IS NULL) = (title_source IS NULL)),
  UNIQUE (session, request_key)
);

CREATE UNIQUE INDEX card_main ON card (session, responder) WHERE scope = 'main';
CREATE INDEX card_listed ON card (session, updated_at);

-- The thread, numbered from 1.
CREATE TABLE card_line (
  card TEXT NOT NULL REFERENCES card (id),
  line INTEGER NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('person', 'responder')),
  author TEXT NOT NULL,
  at INTEGER NOT NULL,
  body TEXT NOT NULL,
  answers INTEGER,  -- the line that it answers
  request_key TEXT,
  PRIMARY KEY (card, line),
  UNIQUE (card, request_key)
);

-- What a responder is to do, in the order of their numbers, one at a time. The request is written down before it is
-- sent, the answer before it is charged: so whoever takes a turn over sends the same, or nothing.
CREATE TABLE card_turn (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  card TEXT NOT NULL REFERENCES card (id),
  responder TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('title', 'answer')),
  line INTEGER NOT NULL,  -- the message that it answers
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'error', 'dropped')),
  attempt INTEGER NOT NULL DEFAULT 0,  -- goes up when an attempt is known to be over and uncharged
  fence INTEGER NOT NULL DEFAULT 0,
  request TEXT,
  answer TEXT,
  units INTEGER NOT NULL DEFAULT 0,
  amount INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  UNIQUE (card, kind, line)
);

CREATE INDEX card_turn_due ON card_turn (responder, number) WHERE state IN ('queued', 'running');
CREATE INDEX card_turn_open ON card_turn (card, state) WHERE state IN ('queued', 'running', 'error');
-- Never two at once on one responder's state.
CREATE UNIQUE INDEX card_turn_alone ON card_turn (responder) WHERE state = 'running';

-- How a card runs, apart from what it says.
CREATE TABLE card_runtime (
  card TEXT PRIMARY KEY REFERENCES card (id),
  resume TEXT,  -- what the responder gave us to go on with
  turns INTEGER NOT NULL DEFAULT 0,
  units INTEGER NOT NULL DEFAULT 0,
  amount INTEGER NOT NULL DEFAULT 0,
  last_error TEXT
);

-- Who answers: at home on one node, hosted by one process at a time. A higher fence bars all earlier hosts.
CREATE TABLE responder (
  name TEXT PRIMARY KEY,
  home TEXT NOT NULL,
  host TEXT NOT NULL,
  node TEXT NOT NULL,
  fence INTEGER NOT NULL,
  lease_until REAL NOT NULL
);

CREATE TABLE node (
  owner TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  lease_until REAL NOT NULL
);

-- What happens, for those who watch a session: numbered per session without a gap, the latest few hundred.
CREATE TABLE activity (
  session TEXT NOT NULL,
  number INTEGER NOT NULL,
  scope TEXT NOT NULL,
  ref TEXT NOT NULL,
  kind TEXT NOT NULL,
  data TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (session, number)
);

CREATE TABLE activity_count (
  session TEXT PRIMARY KEY,
  last INTEGER NOT NULL
);
