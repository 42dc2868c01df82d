"""Quick session cards: many small conversations, each turn metered on the session that pays for it."""
