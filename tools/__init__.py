"""Repository tools: what scripts/ run. Nothing here ships in the wheel."""
