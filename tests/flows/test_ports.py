"""Ports for servers that are not up yet."""

import socket

import pytest

from exporters.errors import Broken
from flows.deployment import ports


def test_a_port_is_below_those_of_outgoing_connections_and_nobody_has_it(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < 32_768
        monkeypatch.setattr(ports, "_BELOW_OUTGOING", range(port, port + 1))
        with pytest.raises(Broken, match=f"no port of 127.0.0.1 from {port} to {port} is free"):
            ports.free_port()
    assert ports.free_port() == port
