"""The engine: what a credential may do, from deposit to close. Both adapters call it."""
