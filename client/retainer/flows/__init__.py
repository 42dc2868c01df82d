"""What the client does: open, pay, close, and leave without the service."""
