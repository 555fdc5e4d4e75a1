"""What a pass does at runtime."""

from __future__ import annotations

from dataclasses import dataclass

from ..haproxy.servers import Server


@dataclass(frozen=True)
class _OfServer:
    server: Server

    @property
    def name(self) -> str:
        """The server's name, as the other steps have it."""
        return self.server.name


@dataclass(frozen=True)
class AddServer(_OfServer):
    """Add the server, probe it, admit it."""


@dataclass(frozen=True)
class Admit(_OfServer):
    """Probe and admit a server that is there but in maintenance, or without its check.

    HAProxy adds servers in maintenance: a run that was killed after `add server` leaves this.
    """


@dataclass(frozen=True)
class Undrain:
    """Give a draining server traffic again: its instance came back."""

    name: str


@dataclass(frozen=True)
class SetMaxConnections:
    """Set the server's limit of connections; None means no limit."""

    name: str
    max_connections: int | None


@dataclass(frozen=True)
class SetWeight:
    """Set the server's configured weight, 0 to 256."""

    name: str
    weight: int


@dataclass(frozen=True)
class Drain:
    """Give the server no new sessions; its own `Remove` or `Replace` follows."""

    name: str


@dataclass(frozen=True)
class Disable:
    """Put the server into maintenance, as an operator wants it."""

    name: str


@dataclass(frozen=True)
class Stop:
    """Take the server's traffic and end its sessions, before the one other server gets any."""

    name: str


@dataclass(frozen=True)
class OpenFrontend:
    """Let a service take connections again; its name is the service's."""

    name: str


@dataclass(frozen=True)
class Replace(_OfServer):
    """Remove the server as `Remove` does, then add it: what differs cannot change while it lives.

    That is its address, its port or `backup`.
    """

    drain_ms: int


@dataclass(frozen=True)
class Remove:
    """Wait for the draining server's sessions, at most `drain_ms`, shut the rest down, delete it.

    HAProxy 3.0 does not tell since when a server drains, so a repeated step has the whole time.
    """

    name: str
    drain_ms: int


Step = (
    AddServer
    | Admit
    | Undrain
    | SetMaxConnections
    | SetWeight
    | Disable
    | Drain
    | Stop
    | OpenFrontend
    | Replace
    | Remove
)
