"""What metering costs, measured beside the alternatives in one run: `scripts/bench SECTION`."""
