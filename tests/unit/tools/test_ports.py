"""Ports that are held for processes which start later, and again."""

import socket

import pytest

from tools.ports import held_port


def test_whoever_names_a_held_port_listens_there_as_often_as_it_likes() -> None:
    with held_port() as port:
        for _ in range(3):
            with socket.create_server(("127.0.0.1", port)) as listener, socket.create_connection(("127.0.0.1", port)):
                listener.accept()[0].close()


def test_a_held_port_takes_no_connections_by_itself() -> None:
    with held_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_held_port_is_taken_for_others_until_the_block_ends() -> None:
    with held_port() as port, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
