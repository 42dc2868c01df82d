"""A listening socket, had before anything is opened, so that a port in use is told as a setting to change."""

import socket

from retainer_provider.settings import SettingsError


def open_listener(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket; SettingsError names the setting that chose an address which cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. Choose another {setting}"
        ) from None
