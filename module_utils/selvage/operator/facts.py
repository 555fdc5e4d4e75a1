"""What there is to know about one service on this node, now. It is read, and nothing changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kazoo.client import KazooClient

from ..catalogue import Guards, Service
from ..formats.grammar import printable
from ..formats.registrations import Reading
from ..haproxy import services_file, validation
from ..haproxy.runtime import Runtime
from ..haproxy.sections import Section, assemble
from ..haproxy.servers import BreakerState, LiveService
from ..haproxy.socket import HAProxyUnavailable
from ..planning.circumstances import Circumstances
from ..planning.plan import ServicePlan, make_plan
from ..reconciler import overrides
from ..reconciler.memory import Memory, MemoryFile, now
from ..reconciler.names import Resolver
from ..reconciler.overrides import Override
from ..reconciler.readings import Readings
from ..reconciler.settings import Settings
from ..registry.connection import RegistryUnavailable, connected
from ..registry.view import RegistryView

_NOTE_CHARACTERS: Final = 200


@dataclass(frozen=True)
class Facts:
    """`live` is None when HAProxy does not run the service, or is away, as `away` then says.

    `breakers` are by server. `plan` is what a pass would do. `complaint` is what HAProxy has
    against the reload that the plan needs, which is not due for another `reload_in_s`. `overrides`
    are those of the service that are in force at `at`, in seconds since 1970. `absent` are
    instances that are not registered, by the names that their registrations would have, with the
    words of the registrars there: nobody decides by these. `problems` are what else cannot be read.
    """

    service: Service
    zone: str | None
    plan: ServicePlan
    live: LiveService | None
    breakers: Mapping[str, BreakerState]
    away: str | None
    complaint: str | None
    reload_in_s: float
    overrides: tuple[Override, ...]
    at: float
    absent: Mapping[str, str]
    problems: tuple[str, ...]


def gather(settings: Settings, service: Service) -> Facts:
    """Read the registry, HAProxy, the services file and the node's memory.

    Any of them may be away: the others are told all the same.
    """
    directory = Path(settings.state_directory)
    memory = MemoryFile(directory / "memory.json").load()
    at = time.time()
    found, problems = overrides.load(directory / "overrides", at)
    filed: Mapping[str, Section] = {}
    try:
        filed = services_file.read(settings.haproxy).sections
    except services_file.FileFailed as failure:
        problems += (str(failure),)
    live, breakers, away = _live(settings, service)
    node = Circumstances(
        zone=settings.zone,
        peaks={service.name: memory.peak(service.name, service.guards.window_ms)},
        maintained=frozenset(override.server for override in found),
    )
    reading, notes = _registry(settings, service, memory)
    (plan,) = make_plan([service], {service.name: reading}, live, filed, node).services
    if isinstance(notes, str):
        problems += (notes,)
    reload_in_s = 0.0
    if memory.reloaded_at is not None:
        reload_in_s = memory.reloaded_at + settings.reload_interval_ms / 1000 - now()
    return Facts(
        service=service,
        zone=settings.zone,
        plan=plan,
        live=live.get(service.name) if live is not None else None,
        breakers=breakers,
        away=away,
        complaint=_complaint(settings, plan, filed) if plan.reload is not None else None,
        reload_in_s=max(0.0, reload_in_s),
        overrides=tuple(override for override in found if override.service == service.name),
        at=at,
        absent={} if isinstance(notes, str) else _absent(notes, reading),
        problems=problems,
    )


def _live(
    settings: Settings, service: Service
) -> tuple[Mapping[str, LiveService] | None, Mapping[str, BreakerState], str | None]:
    haproxy = settings.haproxy
    try:
        runtime = Runtime(haproxy.admin_socket, haproxy.timeout_ms / 1000)
        live = runtime.services([service.name])
        names = [] if service.breaker is None else [service.name]
        return live, runtime.breakers(names).get(service.name, {}), None
    except HAProxyUnavailable as error:
        return None, {}, str(error)


def _registry(
    settings: Settings, service: Service, memory: Memory
) -> tuple[Reading, Mapping[str, str] | str]:
    """What is registered; the notes beside it, or why they are not known."""
    limit_s = settings.registry.session_timeout_ms / 1000
    try:
        with connected(settings.registry) as client:
            view = RegistryView(client, settings.registry.root, {service.name: service.guards})
            view.refresh(limit_s)
            content = view.content
            notes = _notes(client, settings.registry.notes.root, service.name, limit_s)
    except RegistryUnavailable as error:
        return Reading(failure=str(error)), {}
    readings = Readings([service], Resolver(memory.addresses))
    readings.read(content, patient=True)
    return readings.latest[service.name], notes


def _notes(client: KazooClient, root: str, service: str, limit_s: float) -> Mapping[str, str] | str:
    """Anybody's words: shown, and heeded by nobody."""
    view = RegistryView(client, root, {service: Guards()})
    try:
        view.refresh(limit_s)
    except RegistryUnavailable as error:
        return f"why others are not registered cannot be read: {error}"
    found = view.content[service]
    if isinstance(found, str):
        return f"why others are not registered is not shown: {root}/{service} has too many notes"
    return {
        child: printable(text.decode(errors="replace"), _NOTE_CHARACTERS)
        for child, text in found.items()
        if isinstance(text, bytes)
    }


def _absent(notes: Mapping[str, str], reading: Reading) -> Mapping[str, str]:
    """The notes about what is not registered; others are about to go."""
    known = {one.child for one in (*reading.refusals, *reading.out_of_service)}
    known |= {one.child for one in reading.registrations}
    return {child: text for child, text in notes.items() if child not in known}


def _complaint(settings: Settings, plan: ServicePlan, filed: Mapping[str, Section]) -> str | None:
    port, known = plan.section.port, {section.port for section in filed.values()}
    # HAProxy itself listens on those of the file.
    others = None if port is None or port in known else validation.occupied(port)
    if others is not None:
        return others
    try:
        text = assemble({**filed, plan.name: plan.section})
        complaint = validation.complaint(settings.haproxy, text)
    except services_file.FileFailed as failure:
        return str(failure)
    return None if complaint is None else complaint.reason
