"""ZooKeeper: where it is, and connecting to it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler

from .settings import RegistrySettings

# For the server's word that a session has ended; without it the session ends by its timeout.
_END_S: Final = 2.0


class RegistryUnavailable(Exception):
    """The registry cannot be read; the message is one line for the operator."""


def connect(
    settings: RegistrySettings, listener: Callable[[str], None] | None = None
) -> KazooClient:
    """Begin to connect, and return at once. End it with `close`.

    The client goes on trying for as long as it takes, with pauses of at most five seconds;
    `listener` gets each `KazooState` on kazoo's own thread and must not block.
    """
    client = _client(settings)
    if listener is not None:
        client.add_listener(listener)
    client.start_async()
    return client


@contextlib.contextmanager
def connected(settings: RegistrySettings) -> Iterator[KazooClient]:
    """A connected client for one reading; raises `RegistryUnavailable` after `connect_timeout`."""
    client = _client(settings)
    try:
        if not client.start_async().wait(settings.connect_timeout_ms / 1000):
            seconds = settings.connect_timeout_ms / 1000
            raise RegistryUnavailable(
                f"the registry at {settings.place} cannot be reached within {seconds:g} s"
            )
        yield client
    finally:
        close(client)


def close(client: KazooClient) -> None:
    """End the session, so that its ephemeral nodes go; takes two seconds at most, never raises.

    kazoo joins its threads, which may hang in connect(2) or in the resolver, or wait for a server
    that says nothing. They are daemons, and end by themselves; nobody hears from them any more.
    """
    client.state_listeners.clear()
    wait_s = _END_S if client.connected else 0.0
    ending = threading.Thread(target=_end, args=(client,), daemon=True)
    ending.start()
    ending.join(wait_s)


def _end(client: KazooClient) -> None:
    # It complains about threads that take long.
    with contextlib.suppress(Exception):
        client.stop()
        client.close()


def ended(client: KazooClient) -> bool:
    """Whether kazoo has given up for good: its connection loop dies on an unexpected reply.

    Its public state says so too of a client that still looks for the address of a name.
    """
    return bool(client._connection.connection_stopped.is_set())


def _client(settings: RegistrySettings) -> KazooClient:
    credentials = f"{settings.username}:{settings.password}"
    return KazooClient(
        hosts=settings.place,
        handler=_Handler(settings),
        timeout=settings.session_timeout_ms / 1000,
        auth_data=[("digest", credentials)] if settings.username else None,
        connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 5.0},
    )


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types.
    """kazoo's own, but for how long it waits for a host to take a connection.

    With `connect_timeout` all hosts are tried. kazoo gives each the whole time of a session.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        super().__init__()
        limit_ms = min(settings.connect_timeout_ms, settings.session_timeout_ms)
        self._limit_s = limit_ms / 1000 / len(settings.hosts)

    def create_connection(self, *place: object, **options: object) -> socket.socket:
        """Raises OSError."""
        made: socket.socket = super().create_connection(
            *place, **{**options, "timeout": self._limit_s}
        )
        return made
