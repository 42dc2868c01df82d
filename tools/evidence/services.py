"""More processes of the service that stands on a stage: the same settings, on a port of their own."""

from contextlib import AsyncExitStack

from tools.stage import Service, Stage, free_port


async def another(stood: Stage, stack: AsyncExitStack, number: int) -> Service:
    """One more process, which ends with `stack`; `number` tells its files from the others'."""
    text = stood.service.settings.read_text(encoding="utf-8")
    used, port = stood.service.url.rsplit(":", 1)[1], free_port()
    settings = stood.folder / f"settings-{number}.toml"
    settings.write_text(text.replace(f"port = {used}\n", f"port = {port}\n"), encoding="utf-8")
    settings.chmod(0o600)
    service = Service(settings, stood.folder / f"provider-{number}.log", f"http://127.0.0.1:{port}")
    stack.push_async_callback(service.stop)
    await service.start()
    return service
