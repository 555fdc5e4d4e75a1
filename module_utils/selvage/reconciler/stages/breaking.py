"""Break before make: who loses its traffic before another one gets any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace

from ...haproxy import commands
from ...haproxy.master import Master
from ...haproxy.runtime import Runtime
from ...planning.plan import Plan
from ...planning.steps import Stop
from .sending import Sender
from .sight import Sight


def concerned(plan: Plan) -> frozenset[str]:
    """The services whose traffic is about to move."""
    return frozenset(s.name for s in plan.services if s.admits or s.stops)


def look_elsewhere(
    sight: Sight, services: Collection[str], master: Master, runtime: Runtime
) -> Sight:
    """The sight, with the sessions that reloads have left to former workers.

    Raises `HAProxyUnavailable`.
    """
    elsewhere: dict[str, set[str]] = defaultdict(set)
    for session in master.sessions(runtime.process(), services):
        elsewhere[session.service].add(session.server)
    return replace(sight, elsewhere=elsewhere)


def stop(plan: Plan, sight: Sight, sender: Sender, master: Master) -> frozenset[str]:
    """Take the traffic of who has to lose it, and its sessions; the names of those servers.

    Raises `HAProxyUnavailable`.
    """
    runs = _running(sight)
    stopped: dict[str, set[str]] = defaultdict(set)
    for service in plan.services:
        for step in service.stops:
            stopped[service.name].add(step.name)
            if (service.name, step.name) in runs:
                sender.send("stop", step.name, commands.stop(service.name, step.name))
    if sight.elsewhere and not sender.dry_run:
        found = master.sessions(sender.runtime.process(), stopped.keys())
        master.end([s for s in found if s.server in stopped[s.service]])
    return frozenset(name for names in stopped.values() for name in names)


def as_if_stopped(plan: Plan, sight: Sight) -> Sight:
    """What a dry run would see next."""
    names = {(service, step.name) for service, step in plan.steps() if isinstance(step, Stop)}
    live = {
        name: replace(
            service,
            servers=tuple(
                replace(server, maintenance=True, sessions=0)
                if (name, server.name) in names
                else server
                for server in service.servers
            ),
        )
        for name, service in (sight.live or {}).items()
    }
    return replace(sight, live=live, elsewhere={})


def with_drift(plan: Plan, drift: Mapping[str, Collection[str]]) -> Plan:
    """The plan, with the drift that could be seen before anything was stopped."""
    return replace(
        plan,
        services=tuple(
            replace(s, drift=tuple(sorted({*s.drift, *drift.get(s.name, ())})))
            for s in plan.services
        ),
    )


def _running(sight: Sight) -> frozenset[tuple[str, str]]:
    return frozenset(
        (name, server.name)
        for name, service in (sight.live or {}).items()
        for server in service.servers
    )
