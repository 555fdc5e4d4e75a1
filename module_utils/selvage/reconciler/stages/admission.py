"""Who has to pass a check before it gets traffic, and what the checks have said so far."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as NotYet
from concurrent.futures import as_completed, wait

from ...catalogue import Service
from ...formats.registrations import Reading
from ...haproxy.sections import Section
from ...haproxy.servers import LiveService, Server
from ...planning.plan import Plan
from ...planning.steps import AddServer, Admit
from ...planning.wanted import wanted_servers
from ..prober import Probe, Prober

# A step that gives a server traffic, with its service.
Join = tuple[str, AddServer | Admit]


def joins(plan: Plan) -> list[Join]:
    """The servers that are to get traffic once a check has passed."""
    return [
        (name, step)
        for name, step in plan.steps()
        if isinstance(step, (AddServer, Admit)) and not step.server.disabled
    ]


def begin(
    plan: Plan,
    prober: Prober,
    services: Mapping[str, Service],
    names: Collection[str] | None,
    patience_s: float,
) -> bool:
    """Begin the probes that the plan asks for; whether their outcomes decide over it.

    So do those of candidates for the place of the one server that a service may have.

    Then the plan has to be made anew. Of the services `names` (None for all) what no longer joins
    is forgotten.
    """
    wanted = {step.name: (name, step.server) for name, step in joins(plan)}
    wanted |= {server.name: (s.name, server) for s in plan.services for server in s.candidates}
    for server, probe in [*prober.probes.items()]:
        if server not in wanted and (names is None or probe.service in names):
            prober.forget(server)
    probes = [prober.start(services[name], server) for name, server in wanted.values()]
    waiting = {service.name for service in plan.services if service.waiting or service.candidates}
    decisive = [probe for probe in probes if probe.service in waiting]
    pending = [probe for probe in decisive if probe.healthy is None]
    if not pending and not any(probe.healthy for probe in decisive):
        return False
    wait([probe.future for probe in pending], _left_s(pending, patience_s))
    return True


def undecided(plan: Plan, prober: Prober) -> bool:
    """Whether a candidate's probe is under way; of those that failed the next pass makes others."""
    found = False
    for server in (server for service in plan.services for server in service.candidates):
        probe = prober.probes.get(server.name)
        if probe is not None and probe.healthy is None:
            found = True
        elif probe is not None and not probe.healthy:
            prober.forget(server.name)
    return found


def anticipate(
    services: Iterable[Service],
    readings: Mapping[str, Reading],
    filed: Mapping[str, Section],
    zone: str | None,
    prober: Prober,
) -> None:
    """Begin the probes of servers that the services file has not, before HAProxy is looked at.

    It takes as long to say what it runs as most instances take to answer.
    """
    for service in services:
        known = {server.name for server in filed[service.name].servers}
        registrations = readings[service.name].registrations
        for server in wanted_servers(service, registrations, zone):
            if server.name not in known:
                prober.start(service, server)


def fresh(plan: Plan, live: Mapping[str, LiveService], at_most: int) -> list[tuple[str, Server]]:
    """The servers that a reload would start UP without a check, with their services."""
    up = {server.name for found in live.values() for server in found.servers if server.up}
    started = [
        (service.name, server)
        for service in plan.services
        for server in service.wanted
        if service.reload is not None and server.name not in up and not server.disabled
    ]
    return started[:at_most]


def decided(
    steps: Sequence[Join], prober: Prober, services: Mapping[str, Service], patience_s: float
) -> Iterator[tuple[str, AddServer | Admit, bool | None]]:
    """The steps as the health of their servers becomes known; None for what takes longer."""
    waiting = {}
    for name, step in steps:
        if step.server.disabled:
            yield name, step, True
            continue
        probe = prober.start(services[name], step.server)
        if probe.healthy is None:
            waiting[probe.future] = (name, step, probe)
        else:
            yield name, step, probe.healthy
    left_s = _left_s([probe for *_, probe in waiting.values()], patience_s)
    with contextlib.suppress(NotYet):
        for future in as_completed([*waiting], left_s):
            name, step, probe = waiting.pop(future)
            yield name, step, probe.healthy
    for name, step, probe in waiting.values():
        yield name, step, probe.healthy


def _left_s(probes: Sequence[Probe], patience_s: float) -> float:
    """How long to wait for them: those that were waited for before have had their time."""
    return max([0.0, *(patience_s - probe.age_s for probe in probes)])
