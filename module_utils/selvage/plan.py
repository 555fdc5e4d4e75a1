"""What has to be done: the registry's wish and HAProxy's state → steps, and what is held back.

Pure: the same input gives the same plan, and the plan of a world that is as it shall be is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .catalogue import Service
from .grammar import printable
from .haproxy_config import fingerprint, parse_servers, render, server_name, wanted_server
from .model import LiveServer, LiveService, Refusal, Server
from .registration import Reading


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


Step = AddServer | Admit | Undrain | SetMaxConnections | SetWeight | Drain | Replace | Remove


@dataclass(frozen=True)
class ServicePlan:
    """One service: what is wanted, how it differs from what runs, and what to do.

    `wanted` stands in the services file. `added`, `removed`, `changed` and `kept` are names of
    servers against what runs, or against the file when HAProxy is not running. `held` says why
    the registry is not followed. `steps` are for the Runtime API, in order: what joins, then what
    changes, then what leaves; there are none when `reload` says why a reload is needed.
    """

    name: str
    wanted: tuple[Server, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    held: str | None
    refused: tuple[Refusal, ...]
    reload: str | None
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    """What to do: persist `text`, reload if `reload` says why, take the steps, read back.

    After a reload, make a new plan: it says what is left. When the reload is refused, the steps
    are those of the services that need none.
    """

    services: tuple[ServicePlan, ...]
    text: str
    reload: str | None

    def steps(self) -> tuple[tuple[str, Step], ...]:
        """Every step with its service; those that wait for sessions come after all others."""
        steps = [(service.name, step) for service in self.services for step in service.steps]
        return tuple(sorted(steps, key=lambda item: isinstance(item[1], (Replace, Remove))))


def make_plan(
    services: Sequence[Service],
    readings: Mapping[str, Reading],
    live: Mapping[str, LiveService] | None,
    current: str,
) -> Plan:
    """The plan.

    `readings` holds what the registry says, by service; a service without an entry was not read.
    `live` holds what HAProxy runs, None when it is not running; proxies that are not ours are
    ignored. `current` is the text of the services file, empty when there is none.
    """
    filed = parse_servers(current)
    catalogue = {service.name: service for service in services}
    ports = {service.port for service in services}
    plans = tuple(
        _plan_service(
            service,
            _without_loops(readings.get(name, _NOT_READ), ports),
            live is not None,
            live.get(name) if live is not None else None,
            filed.get(name, ()),
        )
        for name, service in sorted(catalogue.items())
    )
    reasons = [f"{plan.name}: {plan.reload}" for plan in plans if plan.reload is not None]
    reasons += [
        f"{name}: removed"
        for name, found in sorted((live or {}).items())
        if name not in catalogue and (found.fingerprint is not None or name in filed)
    ]
    if live is not None and not reasons and current != render(services, filed):
        reasons.append("the services file is missing or was edited")
    return Plan(
        services=plans,
        text=render(services, {plan.name: plan.wanted for plan in plans}),
        reload="; ".join(reasons) or None,
    )


_NOT_READ = Reading(failure="it was not read")


def _without_loops(reading: Reading, ports: set[int]) -> Reading:
    # HAProxy listens there itself: one request would go round until no connection is left.
    loops = [r for r in reading.registrations if r.address == "127.0.0.1" and r.port in ports]
    if not loops:
        return reading
    refusals = [
        Refusal(printable(r.child), f"127.0.0.1:{r.port} is a listener of HAProxy itself")
        for r in loops
    ]
    return replace(
        reading,
        registrations=tuple(r for r in reading.registrations if r not in loops),
        refusals=(*reading.refusals, *refusals),
    )


def _plan_service(
    service: Service,
    reading: Reading,
    running: bool,
    live: LiveService | None,
    filed: tuple[Server, ...],
) -> ServicePlan:
    found = live.servers if live is not None else () if running else tuple(map(_as_live, filed))
    baseline = filed if live is None else _staying(service, live, filed)
    wanted = tuple(sorted(wanted_server(service, r) for r in reading.registrations))
    held = None
    if reading.failure is not None:
        held = f"its registrations are not known: {reading.failure}"
    elif not wanted and not service.guards.allow_empty and (baseline or any(map(_serves, found))):
        held = "no valid registration is left, and guards.allow_empty is false"
    if held is not None:
        wanted = baseline

    reload = _reload_reason(service, live) if running else None
    steps = _steps(service, wanted, {server.name: server for server in found}, held is not None)
    added = {step.name for step in steps if isinstance(step, AddServer)}
    removed = {step.name for step in steps if isinstance(step, Remove)}
    changed = {step.name for step in steps} - added - removed
    return ServicePlan(
        name=service.name,
        wanted=wanted,
        added=tuple(sorted(added)),
        removed=tuple(sorted(removed)),
        changed=tuple(sorted(changed)),
        kept=tuple(server.name for server in wanted if server.name not in added | changed),
        held=held,
        refused=reading.refusals,
        reload=reload,
        steps=tuple(steps) if running and reload is None else (),
    )


def _staying(service: Service, live: LiveService, filed: tuple[Server, ...]) -> tuple[Server, ...]:
    # A run persists before it applies, so a server that is in maintenance or drains without
    # standing in the file is on its way out; with the file, it is on its way in.
    known = {server.name: server for server in filed}
    servers = []
    for found in live.servers:
        if found.name in known:
            servers.append(known[found.name])
        elif _serves(found) and found.name == server_name(service.name, found.address, found.port):
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
    return tuple(sorted(servers))


def _serves(found: LiveServer) -> bool:
    return not (found.maintenance or found.draining)


def _reload_reason(service: Service, live: LiveService | None) -> str | None:
    if live is None:
        return "new"
    if live.fingerprint is None:
        return "runs with unknown options"
    return "changed options" if live.fingerprint != fingerprint(service) else None


def _as_live(server: Server) -> LiveServer:
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
        changed_s=0,
    )


def _steps(
    service: Service, wanted: tuple[Server, ...], live: Mapping[str, LiveServer], held: bool
) -> list[Step]:
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
        elif found.maintenance or not found.checked:
            joins += [*_settings(server, found), Admit(server)]
        elif found.draining:
            joins += [*_settings(server, found), Undrain(server.name)]
        else:
            changes += _settings(server, found)
    names = {server.name for server in wanted}
    for name, found in sorted(live.items()):
        if name not in names and not (held and _serves(found)):
            drains += _drain(found)
            leaves.append(Remove(name, service.drain_ms))
    return joins + changes + drains + leaves


def _settings(server: Server, found: LiveServer) -> Iterator[Step]:
    if found.max_connections != server.max_connections:
        yield SetMaxConnections(server.name, server.max_connections)
    if found.weight != server.weight:
        yield SetWeight(server.name, server.weight)


def _drain(found: LiveServer) -> Iterator[Step]:
    if _serves(found):
        yield Drain(found.name)
