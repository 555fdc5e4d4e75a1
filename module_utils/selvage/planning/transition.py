"""The steps from the servers that run to those that are wanted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..catalogue import Service
from ..haproxy.servers import LiveServer, Server
from .steps import (
    AddServer,
    Admit,
    Disable,
    Drain,
    Remove,
    Replace,
    SetMaxConnections,
    SetWeight,
    Step,
    Undrain,
)


def steps_between(
    service: Service, wanted: tuple[Server, ...], live: Mapping[str, LiveServer], held: bool
) -> list[Step]:
    """In order: what joins, what changes, what is drained, what leaves.

    While the service is `held`, servers that serve stay although nothing wants them.
    """
    joins: list[Step] = []
    changes: list[Step] = []
    drains: list[Step] = []
    leaves: list[Step] = []
    for server in wanted:
        found = live.get(server.name)
        if found is None:
            joins.append(AddServer(server))
        elif (server.address, server.port, server.backup) != (
            found.address,
            found.port,
            found.backup,
        ):
            drains += _drain(found)
            leaves.append(Replace(server, service.drain_ms))
        elif server.disabled:
            # Its settings must not give it traffic for a moment.
            if not found.maintenance:
                changes.append(Disable(server.name))
            changes += _settings(server, found)
        elif found.maintenance or not found.checked:
            joins += [*_settings(server, found), Admit(server)]
        elif found.draining:
            joins += [*_settings(server, found), Undrain(server.name)]
        else:
            changes += _settings(server, found)
    names = {server.name for server in wanted}
    for name, found in sorted(live.items()):
        if name not in names and not (held and found.serves):
            drains += _drain(found)
            leaves.append(Remove(name, service.drain_ms))
    return joins + changes + drains + leaves


def _settings(server: Server, found: LiveServer) -> Iterator[Step]:
    if found.max_connections != server.max_connections:
        yield SetMaxConnections(server.name, server.max_connections)
    if found.weight != server.weight:
        yield SetWeight(server.name, server.weight)


def _drain(found: LiveServer) -> Iterator[Step]:
    if found.serves:
        yield Drain(found.name)
