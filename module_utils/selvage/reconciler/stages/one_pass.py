"""One pass: look at what runs, plan, probe, persist, apply, read back."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed, wait
from dataclasses import dataclass, field, replace
from typing import Final

from ...catalogue import Service
from ...checks import CheckResult
from ...formats.registrations import Reading
from ...haproxy import commands, services_file, validation
from ...haproxy.commands import CommandRefused
from ...haproxy.master import Master, ReloadFailed
from ...haproxy.runtime import Runtime
from ...haproxy.sections import Section, assemble
from ...haproxy.servers import LiveServer, LiveService
from ...haproxy.services_file import Filed
from ...haproxy.socket import HAProxyUnavailable
from ...haproxy.text import server_arguments
from ...planning.circumstances import Circumstances
from ...planning.drift import edited
from ...planning.plan import Plan, ServicePlan, make_plan
from ...planning.steps import (
    AddServer,
    Admit,
    Disable,
    Drain,
    OpenFrontend,
    Remove,
    Replace,
    SetMaxConnections,
    SetWeight,
    Undrain,
)
from ..memory import Memory, now
from ..prober import LIMIT_S, Probe, Prober
from ..result import Result, ServiceResult
from ..settings import Settings
from . import quarantine

# How soon to look again at a server that drains: with sessions, and without; at instances that
# are being probed; and at a service that waits for HAProxy's checks.
_SESSIONS_S: Final = 0.5
_EMPTY_S: Final = 0.05
_PROBING_S: Final = 0.02
_CHECKS_S: Final = 1.0
# How many servers are probed while HAProxy reloads: more would hold up a first reconciliation.
_FRESH_AT_MOST: Final = 256
# How long a pass waits for its probes. Most instances answer within a few milliseconds.
_PATIENCE_S: Final = 0.05


@dataclass
class State:
    """What a reconciler knows before a pass, and takes over from it."""

    filed: Filed
    memory: Memory
    prober: Prober
    # Since when servers drain, by service and server.
    draining: dict[tuple[str, str], float]
    # The file that is known to be as we write it.
    clean: Filed | None = None
    # Whether a reload was put off that no service by itself needs.
    owed: bool = False
    # The servers that the last pass left something to do for: what is amiss with them is our doing.
    begun: Collection[str] = ()
    # The services that HAProxy refused when it was last tried, and why.
    refused: Mapping[str, str] = field(default_factory=dict)


class Pass:
    """The state of one pass. It looks at the services `names`, or at all of them if that is None.

    Afterwards `unfinished` says which services a later pass has to look at in any case, None for
    all of them; `refusals` what HAProxy refuses, which only a pass over everything tries again, and
    `standing` are the problems with that. `postponed` waits for the next reload.
    """

    def __init__(
        self,
        settings: Settings,
        readings: Mapping[str, Reading],
        node: Circumstances,
        state: State,
        *,
        names: Collection[str] | None,
        dry_run: bool,
    ) -> None:
        self._haproxy = settings.haproxy
        self._reload_interval_s = settings.reload_interval_ms / 1000
        self._services = {service.name: service for service in settings.services}
        self._readings = readings
        self._node = node
        self._state = state
        self._names = names
        self._dry_run = dry_run
        timeout_s = settings.haproxy.timeout_ms / 1000
        self._runtime = Runtime(settings.haproxy.admin_socket, timeout_s)
        self._master = Master(settings.haproxy.master_socket, timeout_s)
        self._live: Mapping[str, LiveService] | None = None
        # The file that plans go by: the former one, until HAProxy runs the new one.
        self._filed = state.filed
        self._begun = state.begun
        self._postponed: dict[str, str] = {}
        self._probing: set[str] = set()
        self._commands: list[str] = []
        self._problems: list[str] = []
        # By server, what HAProxy refused to do.
        self._denied: list[tuple[str, str]] = []
        self._again: list[float] = []
        self._reloaded = False
        self._replaced = False
        self._version: tuple[int, int] | None = None
        self.unfinished: frozenset[str] | None = None
        self.refusals: dict[str, str] = {}
        self.standing: tuple[str, ...] = ()
        self.postponed: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether it looks at everything: a pass that needs a reload comes to do so."""
        return self._names is None

    def run(self) -> Result:
        """Take the pass."""
        before = self._filed.text
        plan = self._look()
        if self._names is not None and (plan.reload is not None or self._live is None):
            # It takes the whole file, and all that runs.
            self._names = None
            plan = self._look()
        first = plan = self._prove(plan)
        if plan.reload is not None and not self._dry_run and self._postpone(plan):
            plan = replace(self._plan(), reload=None)
        differs = self._live is None and assemble(self._sections(plan)) != before
        if plan.reload is not None or differs:
            self._quarantine(plan)
            self._keep_ports(plan)
        after = self._persist(first)
        self._note_losses(first)
        left = plan
        if self._live is not None:
            if plan.reload is not None:
                after, plan = self._reload(first)
            self._state.begun = _servers(plan)
            self._apply(plan)
            left = self._read_back(plan) if self._commands and not self._dry_run else plan
        self._state.begun = _servers(left)
        return self._result(first, left, before, after)

    # What is, and what shall be

    def _look(self) -> Plan:
        try:
            self._live = self._runtime.services(self._names)
        except HAProxyUnavailable as error:
            self._live = None
            if self._names is None:
                self._problems.append(f"{error}; it starts with what its services file says")
        else:
            self._forget_undrained()
        return self._plan()

    def _plan(self) -> Plan:
        """The plan, without the services that have to stay as they are."""
        sections, live, fixed = self._filed.sections, self._live, self._fixed
        if fixed:
            sections = {name: section for name, section in sections.items() if name not in fixed}
        services = [
            service
            for name, service in self._services.items()
            if name not in fixed and (self._names is None or name in self._names)
        ]
        if live is not None and fixed:
            live = {name: found for name, found in live.items() if name not in fixed}
        node = replace(
            self._node,
            probed={n: bool(p.healthy) for n, p in self._state.prober.probes.items()},
            begun=self._begun,
            edited=self._edited(services, sections),
        )
        return make_plan(services, self._readings, live, sections, node)

    @property
    def _fixed(self) -> Mapping[str, str]:
        """The services that have to stay as they are, and why."""
        return self.refusals | self._postponed

    def _edited(self, services: Sequence[Service], sections: Mapping[str, Section]) -> bool:
        if self._names is not None:
            return False
        if self._state.owed:
            return True
        if self._filed is self._state.clean:
            return False
        if edited(services, assemble(sections) if self._fixed else self._filed.text):
            return True
        self._state.clean = self._filed
        return False

    def _prove(self, plan: Plan) -> Plan:
        """Begin to probe what joins; the plan, made anew if their health decides over it."""
        joins = dict(_joins(plan))
        for name, probe in [*self._state.prober.probes.items()]:
            if name not in joins and (self._names is None or probe.service in self._names):
                self._state.prober.forget(name)
        probes = [
            self._state.prober.start(self._services[service], step.server)
            for service, step in joins.values()
        ]
        waiting = {service.name for service in plan.services if service.waiting}
        decisive = {p.future for p in probes if p.service in waiting and p.healthy is None}
        if not decisive and not any(p.healthy for p in probes if p.service in waiting):
            return plan
        wait(decisive, LIMIT_S if self._dry_run else _PATIENCE_S)
        return self._plan()

    def _forget_undrained(self) -> None:
        live = self._live or {}
        draining = {
            (name, server.name)
            for name, found in live.items()
            for server in found.servers
            if server.draining or server.maintenance
        }
        for key in self._state.draining.keys() - draining:
            if self._names is None or key[0] in self._names:
                del self._state.draining[key]

    # The file

    def _sections(self, plan: Plan, without: Collection[str] = ()) -> dict[str, Section]:
        """The file as it shall be, with the services `without` as they are."""
        former = self._filed.sections
        sections = {} if self._names is None else dict(former)
        sections |= plan.sections
        for name in {*without, *self._fixed}:
            sections.pop(name, None)
            if name in former:
                sections[name] = former[name]
        return sections

    def _quarantine(self, plan: Plan) -> None:
        """Find out which services HAProxy would refuse."""
        filed, running = self._filed.sections, self._live or {}
        ports = {section.port for section in filed.values()}
        for name, section in plan.sections.items():
            # `haproxy -c` does not see this, and a reload that fails so stops traffic for a second.
            known = section.port in ports or (name in running and name not in filed)
            if known or section.port is None:
                continue
            others = validation.occupied(section.port)
            if others is not None:
                self._refuse([name], others)
        suspects = {s.name for s in plan.services if s.reload is not None or not running}
        suspects -= self.refusals.keys()
        for names, reason in quarantine.refused(
            sorted(suspects), lambda part: self._complaint(plan, suspects.difference(part))
        ):
            self._refuse(names, reason)

    def _keep_ports(self, plan: Plan) -> None:
        """HAProxy would let a service share the port of one that stays as it was."""
        former = {name: section.port for name, section in self._filed.sections.items()}
        wanted = {name: section.port for name, section in plan.sections.items()}
        for other, name in quarantine.ports_kept(self._fixed, former, wanted):
            self._refuse([other], f"{name}, which stays as it was, has 127.0.0.1:{former[name]}")

    def _complaint(self, plan: Plan, without: Collection[str]) -> str | None:
        return validation.complaint(self._haproxy, assemble(self._sections(plan, without)))

    def _refuse(self, names: Collection[str], reason: str) -> None:
        self.refusals.update(dict.fromkeys(names, reason))
        self.standing += (f"{', '.join(sorted(names)) or 'reload'}: left as it was: {reason}",)

    def _persist(self, plan: Plan) -> str:
        """Write the file; its text."""
        sections = self._sections(plan)
        text = assemble(sections)
        if self._dry_run:
            return text
        if text != self._state.filed.text:
            self._state.filed = self._state.clean = services_file.write(self._haproxy, sections)
        return text

    def _note_losses(self, plan: Plan) -> None:
        memory = self._state.memory
        for service in plan.services:
            guards = self._services[service.name].guards
            lost = service.left < service.before and service.name not in self._fixed
            if self._dry_run or not lost:
                continue
            if service.name in self._node.released:
                memory.losses.pop(service.name, None)
            elif guards.max_loss < 100:
                memory.note_loss(service.name, service.before, guards.window_ms)

    def _postpone(self, plan: Plan) -> bool:
        """Whether it is too early for this reload: what needs it then waits, as it is."""
        at = self._state.memory.reloaded_at
        early_s = 0.0 if at is None else at + self._reload_interval_s - now()
        if early_s <= 0:
            return False
        # Not every node at the same time, when they all wait for the same.
        early_s *= random.uniform(1, 1.5)  # noqa: S311 - no secret
        names = [s.name for s in plan.services if s.reload is not None]
        # The same words each time, so that it is told once.
        reason = "it waits: HAProxy was reloaded a moment ago"
        self._postponed = {name: self._state.refused.get(name, reason) for name in names}
        # What HAProxy refused a moment ago has nothing to hurry for.
        if not names or self._postponed.keys() - self._state.refused.keys():
            self._again.append(early_s)
        self._state.owed |= not names
        return True

    def _reload(self, first: Plan) -> tuple[str, Plan]:
        """Reload; what is in the file, and what is left to do afterwards."""
        plan = self._plan()
        if plan.reload is None:
            return self._persist(first), plan
        self._commands.append("reload")
        fresh = self._probe_fresh(plan)
        if self._dry_run:
            wait([probe.future for *_, probe in fresh], LIMIT_S)
            self._demote(fresh)
            return self._persist(first), replace(plan, services=())
        self._state.memory.reloaded_at = now()
        try:
            self._master.reload(self._runtime)
            self._reloaded, self._state.owed = True, False
        except (ReloadFailed, HAProxyUnavailable) as error:
            self._refuse([s.name for s in plan.services if s.reload is not None], str(error))
        self._count(f'reloads_total{{result="{"done" if self._reloaded else "refused"}"}}')
        after = self._persist(first)
        self._filed = self._state.filed
        self._demote(fresh)
        self._live = self._runtime.services()
        return after, self._plan()

    def _probe_fresh(self, plan: Plan) -> list[tuple[str, str, Probe]]:
        """Begin to probe what HAProxy is about to start UP: service, server, probe."""
        live = self._live or {}
        up = {server.name for found in live.values() for server in found.servers if server.up}
        fresh = [
            (service.name, server)
            for service in plan.services
            for server in service.wanted
            if service.reload is not None and server.name not in up and not server.disabled
        ]
        return [
            (name, server.name, self._state.prober.start(self._services[name], server))
            for name, server in fresh[:_FRESH_AT_MOST]
        ]

    def _demote(self, fresh: Sequence[tuple[str, str, Probe]]) -> None:
        """Take the traffic of what was started UP and does not pass its check."""
        for service, server, probe in fresh:
            if (self._reloaded or self._dry_run) and probe.healthy is False:
                self._execute("demote", server, commands.demote(service, server))
            self._state.prober.forget(server)

    # What runs

    def _apply(self, plan: Plan) -> None:
        """Take the steps: changes, then per service what joins, then what leaves."""
        joins: list[tuple[str, AddServer | Admit]] = []
        leaves: dict[str, list[Drain | Remove | Replace]] = defaultdict(list)
        for name, step in plan.steps():
            match step:
                case AddServer() | Admit():
                    joins.append((name, step))
                case Drain() | Remove() | Replace():
                    leaves[name].append(step)
                case SetWeight():
                    line = commands.set_weight(name, step.name, step.weight)
                    self._execute("weight", step.name, line)
                case SetMaxConnections():
                    limit = step.max_connections
                    line = commands.set_max_connections(name, step.name, limit)
                    self._execute("maxconn", step.name, line)
                case Undrain():
                    self._execute("undrain", step.name, commands.undrain(name, step.name))
                case OpenFrontend():
                    self._execute("open", step.name, commands.open_frontend(name))
                case Disable():
                    self._execute("disable", step.name, commands.disable(name, step.name))
        joining = Counter(name for name, _ in joins)
        for name in leaves.keys() - joining.keys():
            self._leave(name, leaves[name])
        for name, step, healthy in self._decided(joins):
            if healthy is None:
                self._probing.add(name)
                continue
            self._join(self._services[name], step, healthy)
            joining[name] -= 1
            if not joining[name]:
                self._leave(name, leaves[name])

    def _decided(
        self, joins: Sequence[tuple[str, AddServer | Admit]]
    ) -> Iterator[tuple[str, AddServer | Admit, bool | None]]:
        """What joins, as its health becomes known; None where it takes too long for this pass."""
        waiting: dict[Future[CheckResult], tuple[str, AddServer | Admit, Probe]] = {}
        for name, step in joins:
            if step.server.disabled:
                yield name, step, True
                continue
            probe = self._state.prober.start(self._services[name], step.server)
            if probe.healthy is None:
                waiting[probe.future] = (name, step, probe)
            else:
                yield name, step, probe.healthy
        patience_s = LIMIT_S if self._dry_run else _PATIENCE_S
        with contextlib.suppress(TimeoutError):
            for future in as_completed([*waiting], patience_s):
                name, step, probe = waiting.pop(future)
                yield name, step, probe.healthy
        for name, step, probe in waiting.values():
            yield name, step, probe.healthy

    def _join(self, service: Service, step: AddServer | Admit, healthy: bool) -> None:
        server = step.server
        lines = []
        if isinstance(step, AddServer):
            arguments = server_arguments(service, server)
            lines.append(commands.add(service.name, server.name, arguments))
        if not server.disabled:
            lines.append(commands.admit(service.name, server.name, healthy=healthy))
            self._count(f'probes_total{{result="{"passed" if healthy else "failed"}"}}')
        kind = "add" if isinstance(step, AddServer) else "admit"
        self._execute(kind, server.name, "; ".join(lines))
        if not self._dry_run:
            self._state.prober.forget(server.name)

    def _leave(self, service: str, steps: Sequence[Drain | Remove | Replace]) -> None:
        found = (self._live or {}).get(service)
        servers = {server.name: server for server in found.servers} if found else {}
        for step in steps:
            if isinstance(step, Drain):
                self._execute("drain", step.name, commands.drain(service, step.name))
            elif self._may_go(service, step, servers[step.name]) or self._dry_run:
                if self._version is None:
                    self._version = self._runtime.version()
                # Where none was seen, one that is there now belongs to a HAProxy that was loaded
                # since then.
                sessions = servers[step.name].sessions > 0
                line = commands.remove(service, step.name, self._version, sessions=sessions)
                self._execute("remove", step.name, line)
                if isinstance(step, Replace):
                    self._replaced = True
                    if self._dry_run:
                        self._add_again(service, step)

    def _add_again(self, service: str, step: Replace) -> None:
        """What the pass does that comes after the removal."""
        for _, add, healthy in self._decided([(service, AddServer(step.server))]):
            self._join(self._services[service], add, bool(healthy))

    def _may_go(self, service: str, step: Remove | Replace, found: LiveServer) -> bool:
        at = time.monotonic()
        since = self._state.draining.setdefault((service, step.name), at)
        if not (found.draining or found.maintenance):
            # Until a moment ago it got sessions: what it has now is for the next pass to see.
            return False
        return found.sessions == 0 or at - since >= step.drain_ms / 1000

    def _execute(self, kind: str, server: str, line: str) -> None:
        self._commands.append(line)
        if self._dry_run:
            return
        self._count(f'steps_total{{step="{kind}"}}')
        try:
            self._runtime.execute(line)
        except CommandRefused as refused:
            if not refused.busy:
                self._denied.append((server, str(refused)))

    def _count(self, sample: str) -> None:
        if not self._dry_run:
            self._state.memory.counters[f"selvage_{sample}"] += 1

    # What is left

    def _read_back(self, plan: Plan) -> Plan:
        """Compare what runs with what was wanted; the plan of what is left."""
        looked = self._names
        if looked is None and not self._reloaded:
            looked = {name for name, _ in plan.steps()}
        self._live = {**(self._live or {}), **self._runtime.services(looked)}
        self._filed = self._state.filed
        left = self._plan()
        # Another HAProxy may have come in the middle, that needs no such command: one is loaded
        # still when a run was killed right after it had asked for a reload.
        needed = {step.name for _, step in left.steps()}
        self._problems += [answer for server, answer in self._denied if server in needed]
        # What a probe, or a check, has only just decided is for the next pass.
        later = self._probing | {service.name for service in plan.services if service.waiting}
        missing = [
            f"{name}: {type(step).__name__} {step.name}"
            for name, step in left.steps()
            if not isinstance(step, (Remove, Replace)) and name not in later
        ]
        self._again += [_PROBING_S for name, _ in left.steps() if name in later]
        if missing and self._replaced:
            self._again.append(0.0)
        elif missing and not (self._problems or self.standing):
            self._problems.append(f"HAProxy does not run what it took: {'; '.join(missing)}")
        if self._reloaded and left.reload is not None:
            path = self._haproxy.services_config
            self._problems.append(
                f"HAProxy was reloaded and needs it still ({left.reload}): does it load {path}?"
            )
        return left

    def _result(self, first: Plan, left: Plan, before: str, after: str) -> Result:
        self._again += [_PROBING_S for _ in self._probing]
        self._again += self._leaving_s(left) if self._live is not None else []
        waiting = {service.name for service in left.services if service.waiting}
        steps = {name for name, _ in left.steps()}
        self.postponed = frozenset(self._postponed)
        if self._live is not None and not self._state.owed:
            self.unfinished = frozenset({*steps, *waiting, *self._postponed})
        results = tuple(map(self._service_result, first.services))
        for result in results:
            for _ in result.drift:
                self._count("drift_total")
        return Result(
            services=results,
            before=before,
            after=after,
            commands=tuple(self._commands),
            reloaded=self._reloaded,
            problems=(*self.standing, *self._problems),
            again_s=min(self._again, default=None),
            look_s=_CHECKS_S if waiting else None,
        )

    def _leaving_s(self, plan: Plan) -> list[float]:
        live = self._live or {}
        servers = {(name, s.name): s for name, found in live.items() for s in found.servers}
        return [
            _SESSIONS_S if servers[name, step.name].sessions else _EMPTY_S
            for name, step in plan.steps()
            if isinstance(step, (Remove, Replace))
        ]

    def _service_result(self, plan: ServicePlan) -> ServiceResult:
        result = ServiceResult(
            name=plan.name,
            refused=plan.reading.refusals,
            out_of_service=plan.reading.out_of_service,
        )
        reason = self._fixed.get(plan.name)
        if reason is not None:
            section = self._filed.sections.get(plan.name)
            servers = section.servers if section is not None else ()
            return replace(result, held=reason, kept=tuple(server.name for server in servers))
        return replace(
            result,
            added=plan.added,
            removed=plan.removed,
            changed=plan.changed,
            kept=plan.kept,
            held=plan.held,
            drift=plan.drift,
        )


def _servers(plan: Plan) -> frozenset[str]:
    return frozenset(step.name for _, step in plan.steps())


def _joins(plan: Plan) -> Iterator[tuple[str, tuple[str, AddServer | Admit]]]:
    for name, step in plan.steps():
        if isinstance(step, (AddServer, Admit)) and not step.server.disabled:
            yield step.name, (name, step)
