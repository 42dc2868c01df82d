"""retainer_provider: meters an HTTP service against prepaid sessions on Solana."""
