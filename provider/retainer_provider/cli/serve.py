"""`retainer-provider serve`."""

import asyncio
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import click
import uvicorn
from starlette.types import ASGIApp

from retainer_provider.app import RetainerApp, create_app
from retainer_provider.cli.common import config_option, examples, settings_of, told
from retainer_provider.cli.connections import bounded_connections
from retainer_provider.cli.garbage import collect_seldom
from retainer_provider.listening import open_listener
from retainer_provider.logs import configure_logging
from retainer_provider.settings import ServiceSettings, Settings


@click.command(
    epilog=examples(
        "serve --upstream http://127.0.0.1:9000",
        "serve --config /etc/retainer/retainer.toml --host 0.0.0.0 --port 8402",
    )
)
@config_option
@click.option("--upstream", help="Where the metered service listens; goes before the settings.")
@click.option("--host", help="The address to listen on; goes before the settings.")
@click.option("--port", type=str, help="The port to listen on, 0 for any free one; goes before the settings.")
@told
def serve(config: Path, upstream: str | None, host: str | None, port: str | None) -> None:
    """Run the service as a reverse proxy in front of an upstream."""
    settings = settings_of(config, upstream=upstream, host=host, port=port)
    configure_logging(settings.service.log_level, settings.service.log_format)
    app = create_app(settings)
    loop = uvicorn.Config(app, log_config=None).get_loop_factory()  # of uvloop, where it is there
    with listen(settings.service) as listener, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(serve_app(app, settings, listener))


class _Server(uvicorn.Server):
    """Tells the app of a signal at once: uvicorn itself first finishes what runs."""

    def __init__(self, app: RetainerApp, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Say that the service is not ready any more, then stop accepting and finish what runs."""
        self._app.stop()
        super().handle_exit(sig, frame)


async def serve_app(
    app: RetainerApp, settings: Settings, listener: socket.socket, *, front: ASGIApp | None = None
) -> None:
    """Serve `app`, by way of what stands in `front` of it, until SIGTERM or SIGINT."""
    limits = settings.limits
    server = _Server(
        app,
        uvicorn.Config(
            front or app,
            lifespan="off",  # `running` is entered here, so that its refusals are ours to tell
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            http=bounded_connections(
                most=limits.connections, seconds=limits.connection_seconds, head_limit=limits.request_head_bytes
            ),
            # Clients keep connections for five seconds, as uvicorn does of itself: who writes into one that is just
            # being closed loses a request. So theirs end first.
            timeout_keep_alive=limits.connection_seconds,
            timeout_graceful_shutdown=limits.shutdown_seconds,
        ),
    )
    # Before and after uvicorn's own: it hands a signal on to whoever held it before, and by then all is done.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    async with app.running():
        collect_seldom()
        host, port = listener.getsockname()[:2]
        click.echo(f"serving http://{f'[{host}]' if ':' in host else host}:{port}")
        sys.stdout.flush()
        await server.serve(sockets=[listener])


def listen(service: ServiceSettings) -> socket.socket:
    """The listening socket; SettingsError when the address is not to be had."""
    return open_listener(service.host, service.port, "`host` or `port`")
