"""The schema of the ledger on PostgreSQL, for Alembic."""
