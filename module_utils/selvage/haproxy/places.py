"""Where HAProxy is on this node."""

from __future__ import annotations

from dataclasses import dataclass

from ..fields import Fields


@dataclass(frozen=True)
class HAProxySettings:
    """Where HAProxy is: its program, files and sockets. The time limit is one answer's, in ms."""

    binary: str
    config: str
    services_config: str
    admin_socket: str
    master_socket: str
    timeout_ms: int


def parse_places(fields: Fields) -> HAProxySettings:
    """The section `haproxy` of the reconciler's configuration; raises `fields.Invalid`."""
    settings = HAProxySettings(
        binary=fields.path("binary", "/usr/sbin/haproxy"),
        config=fields.path("config", "/etc/haproxy/haproxy.cfg"),
        services_config=fields.path("services_config", "/etc/haproxy/services/services.cfg"),
        admin_socket=fields.path("admin_socket", "/run/haproxy/admin.sock"),
        master_socket=fields.path("master_socket", "/run/haproxy/master.sock"),
        timeout_ms=fields.duration("timeout", "100ms", "5m", "5s"),
    )
    fields.done()
    return settings
