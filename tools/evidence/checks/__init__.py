"""One module per check, each with `async def run(report: Report) -> None`."""
