"""Finds a port for a server that starts later, or that restarts on it.

In: nothing. Out: a number that no outgoing connection of this machine gets meanwhile.
"""

import random
import socket

from exporters.errors import Broken

_BELOW_OUTGOING = range(20_000, 32_768)
"""Linux gives outgoing connections and programs that ask for port 0 one from 32768 on (ip_local_port_range)."""


def free_port() -> int:
    """Returns a port of the loopback that no process listens on.

    Raises:
        Broken: all are taken.
    """
    for port in random.sample(_BELOW_OUTGOING, len(_BELOW_OUTGOING)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, so that TIME_WAIT is no matter
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Broken(f"no port of 127.0.0.1 from {_BELOW_OUTGOING.start} to {_BELOW_OUTGOING.stop - 1} is free")
