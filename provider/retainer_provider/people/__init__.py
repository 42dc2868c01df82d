"""People in browsers: a JSON API on the engine, invoices instead of challenges, tokens instead of proofs."""
