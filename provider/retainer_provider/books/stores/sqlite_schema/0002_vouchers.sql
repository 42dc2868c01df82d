-- Voucher mode: the highest voucher that was accepted. Nothing is spent, and so nothing settled, beyond it.

ALTER TABLE session ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0
  CHECK (accepted BETWEEN 0 AND deposit)
  CHECK (voucher_signer = 'operator' OR spent <= accepted);

-- The whole signed voucher as canonical JSON: without its signature no chain pays.
ALTER TABLE session ADD COLUMN voucher TEXT CHECK ((voucher IS NULL) = (accepted = 0));

-- Whether the settled session's account still lies on chain, empty: its rent is returned once its slot window is over.
ALTER TABLE session ADD COLUMN account_left INTEGER NOT NULL DEFAULT 0 CHECK (account_left IN (0, 1));

CREATE INDEX session_left_behind ON session (number) WHERE account_left = 1;
