"""ZooKeeper: where it is, and connecting to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient

from .settings import RegistrySettings


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


@contextmanager
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
    """End the session, so that its ephemeral nodes go; never raises."""
    try:
        client.stop()
        client.close()
    except Exception:  # noqa: S110 - the reason is below
        # kazoo complains about a connection that hangs in connect(2); its threads are daemons.
        pass


def ended(client: KazooClient) -> bool:
    """Whether kazoo has given up for good: its connection loop dies on an unexpected reply.

    Its public state says so too of a client that still looks for the address of a name.
    """
    return bool(client._connection.connection_stopped.is_set())


def _client(settings: RegistrySettings) -> KazooClient:
    credentials = f"{settings.username}:{settings.password}"
    return KazooClient(
        hosts=settings.place,
        timeout=settings.session_timeout_ms / 1000,
        auth_data=[("digest", credentials)] if settings.username else None,
        connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 5.0},
    )
