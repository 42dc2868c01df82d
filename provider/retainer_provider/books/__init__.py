"""The ledger: what is reserved, spent and owed, kept durably and guarded in the write."""
