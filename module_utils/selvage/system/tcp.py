"""Connections to another program, and to nobody else."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)


def connect(address: str, port: int, timeout_s: float) -> socket.socket:
    """A connection, whose socket has this time limit; raises OSError, TimeoutError included.

    Who connects to a port that nobody listens at may be given that very port for its own end, and
    then TCP connects it to itself (RFC 9293, 3.5: simultaneous open). That is a refusal here.
    """
    connection = socket.create_connection((address, port), timeout_s)
    if _is_its_own_peer(connection):
        # Without a reset the port would be taken for another minute, which its owner wants.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return connection


def _is_its_own_peer(connection: socket.socket) -> bool:
    try:
        return bool(connection.getsockname() == connection.getpeername())
    except OSError:  # There was somebody, who has hung up.
        return False
