"""Ports for listeners."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator

# Below those that the kernel gives to connections, so that none of them is in the way.
_PORTS = range(20000, 32000)


def _free() -> Iterator[int]:
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            yield port


_FREE = _free()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses; none is given twice, because some are bound later."""
    return list(itertools.islice(_FREE, count))
