"""More processes of the service that stands on a stage: the same settings, on a port of their own."""

import re
from contextlib import AsyncExitStack

from tools.ports import held_port
from tools.stage import Service, Stage


async def another(stood: Stage, stack: AsyncExitStack, number: int, *, node: str | None = None) -> Service:
    """One more process, which ends with `stack`; `number` tells its files from the others'.

    With `node` it is of that one, and not of the first process's.
    """
    text = stood.service.settings.read_text(encoding="utf-8")
    if node is not None:
        text = re.sub(r'^node = ".*"$', f'node = "{node}"', text, count=1, flags=re.MULTILINE)
    used, port = stood.service.url.rsplit(":", 1)[1], stack.enter_context(held_port())
    settings = stood.folder / f"settings-{number}.toml"
    settings.write_text(text.replace(f"port = {used}\n", f"port = {port}\n"), encoding="utf-8")
    settings.chmod(0o600)
    service = Service(settings, stood.folder / f"provider-{number}.log", f"http://127.0.0.1:{port}")
    stack.push_async_callback(service.stop)
    await service.start()
    return service
