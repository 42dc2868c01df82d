"""retainer: fund once, ask many. Prepaid sessions for agents that pay HTTP services on Solana."""
