"""Paid services as tools of the Model Context Protocol; `server` needs the extra "retainer[mcp]"."""
