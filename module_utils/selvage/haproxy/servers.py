"""The values that the parts exchange: what is registered, what is wanted, what HAProxy runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

# What somebody may do to a proxy by hand so that it takes no new connections: `disable frontend`,
# `shutdown frontend`, `set maxconn frontend`.
Frontend = Literal["open", "disabled", "shut down", "given the limit 0"]


@dataclass(frozen=True)
class Server:
    """One server of a backend, as it shall be. The name is made of service, address and port.

    A `disabled` one is in maintenance by an operator's word.
    """

    name: str
    address: str
    port: int
    weight: int = 1
    backup: bool = False
    max_connections: int | None = None
    disabled: bool = False


def by_name(servers: Iterable[Server]) -> tuple[Server, ...]:
    """The servers of one service in the order of the services file."""
    return tuple(sorted(servers, key=attrgetter("name")))


@dataclass(frozen=True)
class LiveServer:
    """One server as HAProxy runs it (`show servers state`, `show stat`).

    `weight` is the configured weight, not the effective one.
    """

    name: str
    address: str
    port: int
    weight: int
    backup: bool
    max_connections: int | None
    up: bool
    checked: bool
    maintenance: bool
    draining: bool
    sessions: int

    @property
    def serves(self) -> bool:
        """Whether it gets new sessions while it is healthy."""
        return not (self.maintenance or self.draining)


@dataclass(frozen=True)
class LiveService:
    """One proxy of the services file as HAProxy runs it.

    `fingerprint` identifies the options that it was loaded with; None when it says nothing.
    `frontend` says whether its port takes connections.
    """

    name: str
    fingerprint: str | None
    servers: tuple[LiveServer, ...]
    frontend: Frontend = "open"


# What HAProxy takes for an error of a server's: `analyze_statuses` in its checks.
Fault = Literal["connection", "status", "invalid", "broken", "timeout", "closed"]


@dataclass(frozen=True)
class BreakerState:
    """What a service's breaker does to one server, as HAProxy says it (`show stat`).

    `open` means that the errors of real traffic took it out, `fault` what the last of them was;
    `returning` that since then its check has succeeded, though not often enough. It is so since
    `since_s` seconds ago. `opened` counts its errors in a row since HAProxy was loaded.
    """

    open: bool
    returning: bool
    since_s: int
    opened: int
    fault: Fault | None = None


def server_name(service: str, address: str, port: int) -> str:
    """`<service>_<address>_<port>`: an address that moves is a new server."""
    return f"{service}_{address}_{port}"
