"""Settling on chain, once whatever happens, and watching what the chain says of open sessions."""
