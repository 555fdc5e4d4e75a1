"""ZooKeeper: where it is, and connecting to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from kazoo.client import KazooClient
from kazoo.protocol.states import KeeperState

from .fields import Fields, unique

_HOST = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})(:[0-9]{1,5})?"
_PORT: Final = re.compile(r":([0-9]{1,5})\Z")


class RegistryUnavailable(Exception):
    """The registry cannot be read; the message is one line for the operator."""


@dataclass(frozen=True)
class RegistrySettings:
    """Where the registry is. `root` starts with a slash; times are in milliseconds."""

    hosts: tuple[str, ...]
    root: str
    connect_timeout_ms: int
    session_timeout_ms: int
    username: str | None
    password: str | None = field(repr=False)

    @property
    def place(self) -> str:
        """The ensemble, for messages."""
        return ",".join(self.hosts)


def parse_settings(fields: Fields) -> RegistrySettings:
    """The section `registry` of the daemons' configuration files; raises `fields.Invalid`."""
    hosts = fields.texts("hosts", _HOST, "host:port")
    if not hosts:
        raise fields.fail(
            "hosts", "is required: the ensemble's addresses, such as 198.18.0.11:2181"
        )
    for index, host in enumerate(hosts):
        port = _PORT.search(host)
        if port is not None and not 1 <= int(port[1]) <= 65_535:
            raise fields.fail(f"hosts[{index}]", f"expected a port from 1 to 65535, got {port[1]}")
    unique(hosts, fields.at("hosts"), "host")
    username = fields.text("username", r"[^:\s]{0,64}", "a name without colon or space", "") or None
    password = fields.text("password", r"[^\r\n]{0,256}", "one line", "") or None
    if (username is None) != (password is None):
        raise fields.fail("username", "username and password belong together; one is missing")
    settings = RegistrySettings(
        hosts=tuple(hosts),
        root=fields.text(
            "root",
            r"(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}){1,8}",
            "a path such as /services",
            "/services",
        ),
        connect_timeout_ms=fields.duration("connect_timeout", "100ms", "5m", "5s"),
        session_timeout_ms=fields.duration("session_timeout", "1s", "10m", "10s"),
        username=username,
        password=password,
    )
    fields.done()
    return settings


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
                f"the registry at {settings.place} cannot be reached within {seconds:g} s;"
                " nothing was changed"
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
    """Whether kazoo has given up for good: its connection loop dies on an unexpected reply."""
    return client.client_state in (KeeperState.CLOSED, KeeperState.AUTH_FAILED)


def _client(settings: RegistrySettings) -> KazooClient:
    credentials = f"{settings.username}:{settings.password}"
    return KazooClient(
        hosts=settings.place,
        timeout=settings.session_timeout_ms / 1000,
        auth_data=[("digest", credentials)] if settings.username else None,
        connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 5.0},
    )
