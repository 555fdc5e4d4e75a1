"""Hosts that swallow what is sent to them, as those do that are gone without a word."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def silent_hosts(count: int) -> Iterator[list[str]]:
    """Nobody takes connections from their full backlogs, so each further SYN gets no answer."""
    with ExitStack() as stack:
        hosts = []
        for _ in range(count):
            full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(2):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            hosts.append(f"127.0.0.1:{full.getsockname()[1]}")
        yield hosts
