"""What has to be done: the registry's wish and HAProxy's state → steps, and what is held back.

Pure: the same input gives the same plan, and the plan of a world that is as it shall be is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..catalogue import Service
from ..formats.registrations import Reading, Refusal
from ..haproxy.sections import NOTHING, Section
from ..haproxy.servers import LiveServer, LiveService, Server, by_name
from ..haproxy.text import Options, fingerprint, options_in, options_of
from ..haproxy.text import section as render_section
from .baseline import as_live, staying
from .circumstances import Circumstances
from .drift import closed, differences, edits
from .guards import objection
from .single import UNPROVEN, Chooser, Single
from .steps import AddServer, OpenFrontend, Remove, Replace, Step, Stop
from .transition import steps_between
from .wanted import wanted_servers


@dataclass(frozen=True)
class ServicePlan:
    """One service: what is wanted, how it differs from what runs, and what to do.

    `wanted` stands in the services file, and `section` is what the file says. `added`, `removed`,
    `changed` and `kept` are names of servers against what runs, or against the file when HAProxy
    is not running. `held` says why the registry is not followed, `waiting` that only a health
    check is waited for. `drift` are differences between what runs and what was written for it,
    which someone else made. `before` is how many servers with a weight above 0 the service had,
    `left` how many are wanted. `steps` are for the Runtime API, in order: the frontend, then what
    joins, what changes and what leaves; there are none when `reload` says why a reload is needed.

    Where one server alone may have traffic, others `stop` first: then there are no other steps, and
    what runs is to be looked at anew. `admits` says that somebody is about to get the traffic.
    `held_out` are registrations that get none for that reason, `candidates` servers whose checks
    would change that.
    """

    name: str
    options: Options
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
    left: int
    reading: Reading
    reload: str | None
    steps: tuple[Step, ...]
    admits: bool = False
    held_out: tuple[Refusal, ...] = ()
    candidates: tuple[Server, ...] = ()

    @property
    def stops(self) -> tuple[Stop, ...]:
        """Who has to lose its traffic before anything else is done."""
        return tuple(step for step in self.steps if isinstance(step, Stop))


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
        return {s.name: s.section for s in self.services if s.section != NOTHING}

    def steps(self) -> tuple[tuple[str, Step], ...]:
        """Every step with its service; those that wait for sessions come after all others."""
        steps = [(service.name, step) for service in self.services for step in service.steps]
        return tuple(sorted(steps, key=lambda item: isinstance(item[1], (Replace, Remove))))


def make_plan(
    services: Sequence[Service],
    readings: Mapping[str, Reading],
    live: Mapping[str, LiveService] | None,
    filed: Mapping[str, Section],
    circumstances: Circumstances,
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
            filed.get(name, NOTHING),
            circumstances,
        )
        for name, service in sorted(catalogue.items())
    )
    reasons = [f"{plan.name}: {plan.reload}" for plan in plans if plan.reload is not None]
    reasons += [
        f"{name}: removed"
        for name, found in sorted((live or {}).items())
        if name not in catalogue and (found.fingerprint is not None or name in filed)
    ]
    if live is not None and not reasons and circumstances.edited:
        reasons.append("the services file is missing or was edited")
    return Plan(plans, "; ".join(reasons) or None)


_NOT_READ = Reading(failure="it was not read")


def _plan_service(
    service: Service,
    reading: Reading,
    running: bool,
    live: LiveService | None,
    section: Section,
    circumstances: Circumstances,
) -> ServicePlan:
    kept = circumstances.kept.get(service.name)
    options = options_of(service) if kept is None else options_in(section)
    filed = section.servers
    found = live.servers if live is not None else () if running else tuple(map(as_live, filed))
    baseline = filed if live is None else staying(service, live, filed)
    asked = wanted_servers(service, reading.registrations, circumstances.zone)
    wish: _Wish
    if service.guards.max_servers is None:
        wish = _wish(service, reading, asked, found, baseline, circumstances, running)
    else:
        # With one server there is no reserve, and nobody to be a reserve for.
        asked = tuple(replace(server, backup=False) for server in asked)
        chooser = Chooser(
            service, reading.registrations, asked, found, filed, baseline, circumstances, running
        )
        wish = _wish_for_one(chooser, reading)
    stops = tuple(map(Stop, wish.single.stops)) if wish.single is not None else ()
    if options is None:
        return _as_it_was(service, reading, section, filed, kept, wish.strangers)
    wanted, held = wish.wanted, wish.held

    reload = _reload_reason(service, live) if running and kept is None else None
    steps: list[Step] = [*stops] or steps_between(
        service,
        wanted,
        {server.name: server for server in found},
        held is not None and wish.single is None,
    )
    added = {step.name for step in steps if isinstance(step, AddServer)}
    removed = {step.name for step in steps if isinstance(step, Remove)}
    removed |= {step.name for step in stops} - {server.name for server in wanted}
    changed = {step.name for step in steps} - added - removed
    if live is not None and live.frontend == "disabled" and not stops:
        steps.insert(0, OpenFrontend(service.name))
    written = render_section(service.name, options, wanted)
    drift: tuple[str, ...] = ()
    if live is not None and reload is None:
        names = {server.name for server in (asked if wish.single is None else wanted)}
        served = {server.name for server in found if server.serves} & names - {*circumstances.begun}
        good = written if filed == wanted else render_section(service.name, options, filed)
        missing = served - {server.name for server in filed}
        drift = (
            *closed(live, circumstances),
            *edits(service.name, section, good, missing),
            *differences(wanted, filed, found, circumstances),
        )
    if running and reload is None:
        reload = _reopening(live) or _gap(wanted, found, steps)
        if reload is not None and kept is not None:
            return _as_it_was(service, reading, section, filed, kept, wish.strangers)
    return ServicePlan(
        name=service.name,
        options=options,
        wanted=wanted,
        section=written,
        added=tuple(sorted(added)),
        removed=tuple(sorted(removed)),
        changed=tuple(sorted(changed)),
        kept=tuple(server.name for server in wanted if server.name not in added | changed),
        held="; ".join(filter(None, (kept, held))) or None,
        waiting=wish.waiting,
        drift=drift,
        before=wish.before,
        left=len(_taking(wanted)),
        reading=reading,
        reload=reload,
        steps=tuple(steps) if running and reload is None else stops,
        admits=running and wish.single is not None and wish.single.joins,
        held_out=wish.single.held_out if wish.single is not None else (),
        candidates=wish.single.candidates if wish.single is not None else (),
    )


@dataclass(frozen=True)
class _Wish:
    """Which servers a service shall have, and why it does not follow the registry."""

    wanted: tuple[Server, ...]
    held: str | None
    waiting: bool
    before: int
    single: Single | None = None
    # Who stops although nobody can take over.
    strangers: tuple[Stop, ...] = ()


def _wish(
    service: Service,
    reading: Reading,
    wanted: tuple[Server, ...],
    found: Sequence[LiveServer],
    baseline: tuple[Server, ...],
    circumstances: Circumstances,
    running: bool,
) -> _Wish:
    names = {server.name for server in wanted}
    taking = _taking(wanted)
    # Who keeps its place but gets no traffic any more is as lost as who is gone.
    lost = [s for s in baseline if s.name not in (taking if s.weight else names)]
    others = [s for s in found if s.serves and s.name not in names]
    before = len(_taking(baseline))
    held, waiting = None, False
    if reading.failure is not None:
        held, wanted = f"its registrations are not known: {reading.failure}", baseline
    elif service.name not in circumstances.released:
        # Those that got no traffic may go one by one, but not all because nobody is registered.
        losses = {s.name for s in others if s.weight or not names}
        losses |= {s.name for s in lost if s.weight or not names}
        peak = max(circumstances.peaks.get(service.name, 0), before)
        held = objection(service, len(taking), len(losses), peak, idle=len(names - taking))
        if held is None and running and _unproven(taking, _taking(lost), found, circumstances):
            held, waiting = UNPROVEN, True
        if held is not None:
            wanted = _with(wanted, lost)
    wanted = tuple(
        server
        if server.disabled == (server.name in circumstances.maintained)
        else replace(server, disabled=not server.disabled)
        for server in wanted
    )
    return _Wish(wanted, held, waiting, before)


def _wish_for_one(chooser: Chooser, reading: Reading) -> _Wish:
    service, holder, held = chooser.service, chooser.holder, None
    if reading.failure is not None:
        held = f"its registrations are not known: {reading.failure}"
    elif service.name not in chooser.circumstances.released:
        taking = _taking(chooser.asked)
        lost = int(holder is not None and not taking)
        held = objection(service, min(1, len(taking)), lost, 1, idle=len(chooser.asked))
    single = chooser.choose(follows=held is None)
    return _Wish(
        wanted=single.wanted,
        held=held or single.waiting,
        waiting=single.waiting is not None,
        before=int(holder is not None),
        single=single,
        strangers=tuple(map(Stop, chooser.choose(follows=False).stops)),
    )


def _as_it_was(
    service: Service,
    reading: Reading,
    section: Section,
    filed: tuple[Server, ...],
    kept: str | None,
    stops: tuple[Stop, ...],
) -> ServicePlan:
    """Nothing else is done for a service whose servers cannot even follow the registry."""
    return ServicePlan(
        name=service.name,
        options=options_of(service),
        wanted=filed,
        section=section,
        added=(),
        removed=(),
        changed=(),
        kept=tuple(server.name for server in filed),
        held=kept,
        waiting=False,
        drift=(),
        before=len(filed),
        left=len(filed),
        reading=reading,
        reload=None,
        steps=stops,
    )


def _taking(servers: Iterable[Server]) -> set[str]:
    """The names of those that take traffic: with the weight 0, a server gets none."""
    return {server.name for server in servers if server.weight}


def _with(wanted: Sequence[Server], lost: Sequence[Server]) -> tuple[Server, ...]:
    """The wanted servers, and the lost ones with the weight that they had."""
    servers = {server.name: server for server in wanted}
    for server in lost:
        servers[server.name] = replace(servers.get(server.name, server), weight=server.weight)
    return by_name(servers.values())


def _unproven(
    taking: Collection[str],
    lost: Collection[str],
    found: Sequence[LiveServer],
    circumstances: Circumstances,
) -> bool:
    """Whether a healthy server would go, and none that stays is known to be healthy."""
    healthy = {server.name for server in found if server.up and not server.maintenance}
    return (
        bool(taking)
        and any(name in healthy for name in lost)
        and not any(name in healthy or circumstances.probed.get(name) for name in taking)
    )


def _gap(
    wanted: Sequence[Server], found: Sequence[LiveServer], steps: Sequence[Step]
) -> str | None:
    """Why the steps would leave nobody to answer: who is replaced answers nothing meanwhile."""
    replaced = {step.name for step in steps if isinstance(step, Replace)}
    able = {server.name for server in found if server.up and server.serves}
    answering = able & {server.name for server in found if server.weight}
    staying = _taking(server for server in wanted if not server.disabled) - replaced
    if answering & replaced and not able & staying:
        return "nothing else is up that could answer while its servers are replaced"
    return None


def _reload_reason(service: Service, live: LiveService | None) -> str | None:
    if live is None:
        return "new"
    if live.fingerprint is None:
        return "runs with unknown options"
    return "changed options" if live.fingerprint != fingerprint(service) else None


def _reopening(live: LiveService | None) -> str | None:
    # No command opens a frontend that was shut down, and HAProxy 2.6 aborts when the limit of one
    # is raised that holds connections back.
    shut = live is not None and live.frontend not in ("open", "disabled")
    return f"was {live.frontend}" if live is not None and shut else None
