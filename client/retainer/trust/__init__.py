"""What may be signed: pins, caps, and the rules that an offer must pass. Decided before any key is used."""
