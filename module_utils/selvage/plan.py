"""What has to be done: the registry's wish and HAProxy's state → steps, and what is held back.

Pure: the same input gives the same plan, and the plan of a world that is as it shall be is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .catalogue import Service
from .guards import objection
from .haproxy_config import fingerprint, parse_servers, render
from .haproxy_config import section as render_section
from .model import LiveServer, LiveService, Server, by_name
from .registration import Reading
from .sections import Section, split
from .wanted import server_name, wanted_servers


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
    AddServer | Admit | Undrain | SetMaxConnections | SetWeight | Disable | Drain | Replace | Remove
)


@dataclass(frozen=True)
class Node:
    """What else the plan depends on.

    `peaks` is, by service, the largest number of servers within its guards' window. `maintained`
    are servers that an operator took out. `probed` says of servers that join whether the service's
    check passed, `begun` names those that an earlier pass left something to do for. `released` are
    services for which the guards do not count now. `edited` says that the services file is not as
    we write it.
    """

    zone: str | None = None
    peaks: Mapping[str, int] = field(default_factory=dict)
    maintained: Collection[str] = ()
    probed: Mapping[str, bool] = field(default_factory=dict)
    begun: Collection[str] = ()
    released: Collection[str] = ()
    edited: bool = False


@dataclass(frozen=True)
class ServicePlan:
    """One service: what is wanted, how it differs from what runs, and what to do.

    `wanted` stands in the services file, and `section` is what the file says. `added`, `removed`,
    `changed` and `kept` are names of servers against what runs, or against the file when HAProxy
    is not running. `held` says why the registry is not followed, `waiting` that only a health
    check is waited for. `drift` are differences between what runs and what was written for it,
    which someone else made. `before` is how many servers the service had. `steps` are for the
    Runtime API, in order: what joins, then what changes, then what leaves; there are none when
    `reload` says why a reload is needed.
    """

    name: str
    wanted: tuple[Server, ...]
    section: Section
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    held: str | None
    waiting: bool
    drift: tuple[str, ...]
    before: int
    reading: Reading
    reload: str | None
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    """What to do: persist the sections, reload if `reload` says why, take the steps, read back.

    After a reload, make a new plan: it says what is left. When the reload is refused, the steps
    are those of the services that need none.
    """

    services: tuple[ServicePlan, ...]
    reload: str | None

    @property
    def sections(self) -> dict[str, Section]:
        """What the services file says, by service."""
        return {service.name: service.section for service in self.services}

    def steps(self) -> tuple[tuple[str, Step], ...]:
        """Every step with its service; those that wait for sessions come after all others."""
        steps = [(service.name, step) for service in self.services for step in service.steps]
        return tuple(sorted(steps, key=lambda item: isinstance(item[1], (Replace, Remove))))


def make_plan(
    services: Sequence[Service],
    readings: Mapping[str, Reading],
    live: Mapping[str, LiveService] | None,
    filed: Mapping[str, Section],
    node: Node,
) -> Plan:
    """The plan for these services.

    `readings` holds what the registry says, by service; a service without an entry was not read.
    `live` holds what HAProxy runs, None when it is not running; proxies that are not ours are
    ignored. `filed` is what the services file says.
    """
    catalogue = {service.name: service for service in services}
    plans = tuple(
        _plan_service(
            service,
            readings.get(name, _NOT_READ),
            live is not None,
            live.get(name) if live is not None else None,
            filed.get(name, _NOTHING),
            node,
        )
        for name, service in sorted(catalogue.items())
    )
    reasons = [f"{plan.name}: {plan.reload}" for plan in plans if plan.reload is not None]
    reasons += [
        f"{name}: removed"
        for name, found in sorted((live or {}).items())
        if name not in catalogue and (found.fingerprint is not None or name in filed)
    ]
    if live is not None and not reasons and node.edited:
        reasons.append("the services file is missing or was edited")
    return Plan(plans, "; ".join(reasons) or None)


def edited(services: Sequence[Service], text: str) -> bool:
    """Whether the text of the services file is another than we would have written."""
    servers = {name: parse_servers(name, section) for name, section in split(text).items()}
    return text != render(services, servers)


_NOT_READ = Reading(failure="it was not read")
_NOTHING = Section("", "")


def _plan_service(
    service: Service,
    reading: Reading,
    running: bool,
    live: LiveService | None,
    section: Section,
    node: Node,
) -> ServicePlan:
    filed = parse_servers(service.name, section)
    found = live.servers if live is not None else () if running else tuple(map(_as_live, filed))
    baseline = filed if live is None else _staying(service, live, filed)
    wanted = wanted_servers(service, reading.registrations, node.zone)
    names = {server.name for server in wanted}
    lost = [server for server in baseline if server.name not in names]
    others = {server.name for server in found if _serves(server)} - names
    held, waiting = None, False
    if reading.failure is not None:
        held, wanted = f"its registrations are not known: {reading.failure}", baseline
    elif service.name not in node.released:
        losses = len(others | {server.name for server in lost})
        peak = max(node.peaks.get(service.name, 0), len(baseline))
        held = objection(service, len(wanted), losses, peak)
        if held is None and running and _unproven(wanted, lost, found, node):
            held, waiting = "nothing of what would be left has passed its check yet", True
        if held is not None:
            wanted = by_name((*wanted, *lost))
    wanted = tuple(
        server
        if server.disabled == (server.name in node.maintained)
        else replace(server, disabled=not server.disabled)
        for server in wanted
    )

    reload = _reload_reason(service, live) if running else None
    steps = _steps(service, wanted, {server.name: server for server in found}, held is not None)
    added = {step.name for step in steps if isinstance(step, AddServer)}
    removed = {step.name for step in steps if isinstance(step, Remove)}
    changed = {step.name for step in steps} - added - removed
    written = render_section(service, wanted)
    drift: tuple[str, ...] = ()
    if live is not None and reload is None:
        served = {server.name for server in found if _serves(server)} & names - {*node.begun}
        good = written if filed == wanted else render_section(service, filed)
        missing = served - {server.name for server in filed}
        edits = _edits(service.name, section, good, missing)
        drift = (*edits, *_drift(wanted, filed, found, node))
    if running and reload is None:
        reload = _gap(wanted, found, steps)
    return ServicePlan(
        name=service.name,
        wanted=wanted,
        section=written,
        added=tuple(sorted(added)),
        removed=tuple(sorted(removed)),
        changed=tuple(sorted(changed)),
        kept=tuple(server.name for server in wanted if server.name not in added | changed),
        held=held,
        waiting=waiting,
        drift=drift,
        before=len(baseline),
        reading=reading,
        reload=reload,
        steps=tuple(steps) if running and reload is None else (),
    )


def _unproven(
    wanted: Sequence[Server], lost: Sequence[Server], found: Sequence[LiveServer], node: Node
) -> bool:
    """Whether a healthy server would go, and none that stays is known to be healthy."""
    healthy = {server.name for server in found if server.up and not server.maintenance}
    return (
        bool(wanted)
        and any(server.name in healthy for server in lost)
        and not any(server.name in healthy or node.probed.get(server.name) for server in wanted)
    )


def _gap(
    wanted: Sequence[Server], found: Sequence[LiveServer], steps: Sequence[Step]
) -> str | None:
    """Why the steps would leave nobody to answer: who is replaced answers nothing meanwhile."""
    replaced = {step.name for step in steps if isinstance(step, Replace)}
    serving = {server.name for server in found if server.up and _serves(server)}
    staying = {server.name for server in wanted if not server.disabled} - replaced
    if serving & replaced and not serving & staying:
        return "nothing else is up that could answer while its servers are replaced"
    return None


def _edits(name: str, section: Section, good: Section, missing: Collection[str]) -> Iterator[str]:
    # HAProxy runs these options and servers, so it was loaded with a file that had them, or the
    # servers were in the file before they were added.
    if section == _NOTHING:
        yield f"{name} was taken out of the services file"
        return
    if section != good:
        yield f"{name} was edited in the services file"
    for server in sorted(missing):
        yield f"{server} was taken out of the services file"


def _drift(
    wanted: Sequence[Server], filed: Sequence[Server], found: Sequence[LiveServer], node: Node
) -> tuple[str, ...]:
    # What was written and is still wanted was taken by HAProxy when it was written.
    live = {server.name: server for server in found}
    known = set(filed)
    drift = [
        f"{server.name} {difference}"
        for server in wanted
        if server in known
        and server.name not in node.begun
        and (difference := _difference(server, live.get(server.name))) is not None
    ]
    names = {server.name for server in (*filed, *wanted)}
    drift += [f"{s.name} was added" for s in found if s.name not in names and _serves(s)]
    return tuple(sorted(drift))


def _difference(server: Server, found: LiveServer | None) -> str | None:
    if found is None:
        return "was removed"
    if (server.address, server.port, server.backup) != (found.address, found.port, found.backup):
        return f"was changed to {found.address}:{found.port}{' backup' if found.backup else ''}"
    if found.maintenance != server.disabled:
        return "was put into maintenance" if found.maintenance else "was taken out of maintenance"
    if found.draining:
        return "was drained"
    if not found.checked and not server.disabled:
        return "was left without its check"
    if found.weight != server.weight:
        return f"was given the weight {found.weight}"
    if found.max_connections != server.max_connections:
        return f"was given the limit {found.max_connections or 'none'}"
    return None


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
    return by_name(servers)


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
        elif server.disabled:
            changes += _settings(server, found)
            if not found.maintenance:
                changes.append(Disable(server.name))
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
