"""Where the registry is, and how to connect to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final

from ..fields import Fields, unique

_HOST = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})(:[0-9]{1,5})?"
_PORT: Final = re.compile(r":([0-9]{1,5})\Z")


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

    @property
    def notes(self) -> RegistrySettings:
        """The same, for what is said beside the registrations: no reader takes it for a service."""
        return replace(self, root=f"{self.root}.notes")


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
