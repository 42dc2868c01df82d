"""`scripts/evidence`: each claim of the README, shown for real and written down as JSON."""
