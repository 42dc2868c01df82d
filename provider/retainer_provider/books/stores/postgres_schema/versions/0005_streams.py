"""Streams: what of each has left."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add it to the reservations."""
    op.execute(_COLUMNS)


_COLUMNS = """
-- What of a running stream has left, written before it leaves: what it costs if nothing more does. A reservation with
-- this outlives its process, and is `cut` once nobody sends more of it.
ALTER TABLE reservation ADD COLUMN progress TEXT, ADD COLUMN cut BOOLEAN NOT NULL DEFAULT FALSE;

CREATE INDEX reservation_streams ON reservation (id) WHERE progress IS NOT NULL;
"""
