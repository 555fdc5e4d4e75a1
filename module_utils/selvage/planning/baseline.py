"""What a service has, before the registry says what it shall have. Pure."""

from __future__ import annotations

from ..catalogue import Service
from ..haproxy.servers import LiveServer, LiveService, Server, by_name, server_name


def staying(service: Service, live: LiveService, filed: tuple[Server, ...]) -> tuple[Server, ...]:
    """The servers that stay unless the registry says otherwise."""
    # A run persists before it applies, so a server that is in maintenance or drains without
    # standing in the file is on its way out; with the file, it is on its way in.
    known = {server.name: server for server in filed}
    servers = []
    for found in live.servers:
        if found.name in known:
            servers.append(known[found.name])
        elif found.serves and found.name == server_name(service.name, found.address, found.port):
            servers.append(
                Server(
                    name=found.name,
                    address=found.address,
                    port=found.port,
                    weight=found.weight,
                    backup=found.backup,
                    max_connections=found.max_connections,
                )
            )
    return by_name(servers)


def as_live(server: Server) -> LiveServer:
    """The server as HAProxy would run it, for plans while HAProxy is away."""
    return LiveServer(
        name=server.name,
        address=server.address,
        port=server.port,
        weight=server.weight,
        backup=server.backup,
        max_connections=server.max_connections,
        up=True,
        checked=True,
        maintenance=False,
        draining=False,
        sessions=0,
    )
