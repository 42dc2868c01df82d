"""Checking providers without trusting them: against the chain, their own logs, and the receipts that they signed."""
