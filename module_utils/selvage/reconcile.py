"""One pass: read, plan, persist, apply, read back.

A pass never waits for sessions: what still drains is left to a later pass, and `Result.again_s`
says when. Whatever a pass leaves undone, because it was killed for one, the next pass finds in
what HAProxy runs and in the services file.
"""

from __future__ import annotations

import errno
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from . import checks, haproxy_runtime, lock, services_file
from .catalogue import Service
from .fields import Invalid
from .haproxy_config import server_arguments
from .haproxy_runtime import CommandRefused, HAProxyUnavailable, Master, ReloadFailed, Runtime
from .model import LiveServer, LiveService, Refusal
from .plan import (
    AddServer,
    Admit,
    Drain,
    Plan,
    Remove,
    Replace,
    ServicePlan,
    SetMaxConnections,
    SetWeight,
    Undrain,
    make_plan,
)
from .quarantine import keep, listeners
from .registration import Reading, Rules
from .registration import read as read_registrations
from .registry import Content, RegistryUnavailable, RegistryView, connected
from .settings import Settings

# What ends a pass before anything, or everything, is done. Each message is one line.
FAILURES: Final = (
    Invalid,
    RegistryUnavailable,
    HAProxyUnavailable,
    lock.Locked,
    services_file.FileFailed,
)
_PROBES_AT_ONCE: Final = 32
# HAProxy 2.6 keeps idle connections to a server for some seconds, and the server with them.
_GRACE_S: Final = 15.0
# How soon to look again at a server that drains: with sessions, and without.
_SESSIONS_S: Final = 0.5
_EMPTY_S: Final = 0.05

Registry = Callable[[], Content]
Live = Mapping[str, LiveService]


@dataclass(frozen=True)
class ServiceResult:
    """What happened to one service: names of servers, and why something did not happen."""

    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    held: str | None
    refused: tuple[Refusal, ...]


@dataclass(frozen=True)
class Result:
    """What one pass did, or would do.

    `before` and `after` are the texts of the services file. `problems` are failures, one line
    each, that did not keep the pass from doing the rest. `again_s` says in how many seconds to
    look again, because something drains; None when everything is done.
    """

    services: tuple[ServiceResult, ...]
    before: str
    after: str
    commands: tuple[str, ...]
    reloaded: bool
    problems: tuple[str, ...]
    again_s: float | None

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, done."""
        return self.before != self.after or bool(self.commands)

    def then(self, later: Result) -> Result:
        """This pass and the one that finished it, as one."""
        earlier = {service.name: service for service in self.services}
        return replace(
            later,
            services=tuple(_joined(earlier.get(s.name, s), s) for s in later.services),
            before=self.before,
            commands=self.commands + later.commands,
            reloaded=self.reloaded or later.reloaded,
        )


def reconcile(settings: Settings, *, dry_run: bool = False) -> Result:
    """Pass after pass until nothing drains, or one dry run. Raises one of `FAILURES`.

    Others can work between two passes, so each reads the whole registry anew.
    """
    reconciler = Reconciler(settings)
    with connected(settings.registry) as client:
        view = RegistryView(client, settings.registry.root, (s.name for s in settings.services))

        def registry() -> Content:
            view.expire()
            view.refresh(settings.registry.session_timeout_ms / 1000)
            return view.content

        result = reconciler.run(registry, dry_run=dry_run)
        longest_ms = max((service.drain_ms for service in settings.services), default=0)
        deadline = time.monotonic() + longest_ms / 1000 + _GRACE_S
        pause_s = 0.0
        while result.again_s is not None and not dry_run:
            if time.monotonic() >= deadline:
                return replace(
                    result, problems=(*result.problems, "servers that left are still in use")
                )
            pause_s = min(max(2 * pause_s, result.again_s), 1.0)
            time.sleep(pause_s)
            result = result.then(reconciler.run(registry))
    return result


class Reconciler:
    """Makes HAProxy equal to the registry, pass by pass; remembers since when servers drain."""

    def __init__(self, settings: Settings, *, lock_limit_s: float = 30.0) -> None:
        self._settings = settings
        self._lock_limit_s = lock_limit_s
        self._draining: dict[tuple[str, str], float] = {}

    def run(self, registry: Registry, *, dry_run: bool = False) -> Result:
        """One pass. `registry` is called under the lock, and knows every service of the settings.

        Raises one of `FAILURES`. A dry run changes nothing, in no file and no socket.
        """
        path = Path(self._settings.state_directory) / "lock"
        with lock.held(path, self._lock_limit_s, create=not dry_run):
            return _Pass(self._settings, registry(), self._draining, dry_run).run()


class _Pass:
    """The state of one pass."""

    def __init__(
        self,
        settings: Settings,
        content: Content,
        draining: dict[tuple[str, str], float],
        dry_run: bool,
    ) -> None:
        self._haproxy = settings.haproxy
        self._services = {service.name: service for service in settings.services}
        self._readings = {
            service.name: _reading(service, content[service.name]) for service in settings.services
        }
        self._draining = draining
        self._dry_run = dry_run
        timeout_s = settings.haproxy.timeout_ms / 1000
        self._runtime = Runtime(settings.haproxy.admin_socket, timeout_s)
        self._master = Master(settings.haproxy.master_socket, timeout_s)
        self._current = self._written = services_file.read(settings.haproxy)
        self._refused: dict[str, str] = {}
        self._commands: list[str] = []
        self._problems: list[str] = []
        self._reloaded = False
        self._replaced = False
        self._version: tuple[int, int] | None = None

    def run(self) -> Result:
        """Take the pass."""
        live: Live | None = None
        try:
            live = self._runtime.services()
        except HAProxyUnavailable as error:
            self._problems.append(f"{error} It starts with what its services file says.")
        whole = make_plan(tuple(self._services.values()), self._readings, live, self._current)
        if whole.reload is not None or (live is None and whole.text != self._current):
            self._quarantine(whole, live or {})
        after = self._persist(whole)
        again_s = None
        if live is not None:
            self._forget_undrained(live)
            plan = self._plan(live, self._current)
            if plan.reload is not None:
                after, live, plan = self._reload(whole, live, plan)
            self._apply(plan, live)
            again_s = self._read_back(after) if self._commands and not self._dry_run else None
            if not self._commands:
                again_s = _pending(plan, live)
        return Result(
            services=tuple(map(self._result, whole.services)),
            before=self._current,
            after=after,
            commands=tuple(self._commands),
            reloaded=self._reloaded,
            problems=tuple(self._problems),
            again_s=again_s,
        )

    def _plan(self, live: Live, current: str) -> Plan:
        """The plan without the services that HAProxy refuses."""
        return make_plan(
            tuple(s for name, s in self._services.items() if name not in self._refused),
            self._readings,
            {name: found for name, found in live.items() if name not in self._refused},
            keep(current, "", self._refused),
        )

    def _quarantine(self, whole: Plan, running: Live) -> None:
        """Find out which services HAProxy would refuse."""
        filed = listeners(self._current)
        for name, port in listeners(whole.text).items():
            # `haproxy -c` does not see this, and a reload that fails so stops traffic for a second.
            known = port in filed.values() or (name in running and name not in filed)
            if not known and _taken(port):
                self._refuse([name], f"another program listens on 127.0.0.1:{port}")
        complaint = self._complaint(whole, self._refused)
        if complaint is None:
            return
        suspects = {s.name for s in whole.services if s.reload is not None or not running}
        suspects -= self._refused.keys()
        for name in sorted(suspects):
            alone = self._complaint(whole, self._refused.keys() | suspects - {name})
            if alone is not None:
                self._refuse([name], alone)
        if not suspects & self._refused.keys():
            self._refuse(suspects, complaint)

    def _complaint(self, whole: Plan, without: Collection[str]) -> str | None:
        return services_file.complaint(self._haproxy, keep(whole.text, self._current, without))

    def _refuse(self, names: Collection[str], reason: str) -> None:
        self._refused.update(dict.fromkeys(names, reason))
        self._problems.append(f"{', '.join(sorted(names)) or 'reload'}: left as it was: {reason}")

    def _persist(self, whole: Plan) -> str:
        text = keep(whole.text, self._current, self._refused)
        if text != self._written and not self._dry_run:
            services_file.write(self._haproxy, text)
            self._written = text
        return text

    def _reload(self, whole: Plan, live: Live, plan: Plan) -> tuple[str, Live, Plan]:
        """Reload; what is in the file, what runs and what is left to do afterwards."""
        self._commands.append("reload")
        if self._dry_run:
            return self._persist(whole), live, replace(plan, services=())
        try:
            self._master.reload(self._runtime)
            self._reloaded = True
        except (ReloadFailed, HAProxyUnavailable) as error:
            self._refuse([s.name for s in plan.services if s.reload is not None], str(error))
        after = self._persist(whole)
        live = self._runtime.services()
        return after, live, self._plan(live, after)

    def _apply(self, plan: Plan, live: Live) -> None:
        """Take the steps: changes, then per service what joins, then what leaves.

        Every probe runs at the same time, so that a dead instance delays no other service.
        """
        joins: list[tuple[str, AddServer | Admit]] = []
        leaves: dict[str, list[Drain | Remove | Replace]] = defaultdict(list)
        for name, step in plan.steps():
            match step:
                case AddServer() | Admit():
                    joins.append((name, step))
                case Drain() | Remove() | Replace():
                    leaves[name].append(step)
                case SetWeight():
                    self._execute(haproxy_runtime.set_weight(name, step.name, step.weight))
                case SetMaxConnections():
                    limit = step.max_connections
                    self._execute(haproxy_runtime.set_max_connections(name, step.name, limit))
                case Undrain():
                    self._execute(haproxy_runtime.undrain(name, step.name))
        joining = Counter(name for name, _ in joins)
        for name in leaves.keys() - joining.keys():
            self._leave(name, leaves[name], live[name])
        with ThreadPoolExecutor(_PROBES_AT_ONCE) as pool:
            probes = {
                pool.submit(
                    checks.probe, self._services[name], step.server.address, step.server.port
                ): (name, step)
                for name, step in joins
            }
            for probe in as_completed(probes):
                name, step = probes[probe]
                self._join(self._services[name], step, probe.result().healthy)
                joining[name] -= 1
                if not joining[name]:
                    self._leave(name, leaves[name], live[name])

    def _join(self, service: Service, step: AddServer | Admit, healthy: bool) -> None:
        server = step.server
        line = haproxy_runtime.admit(service.name, server.name, healthy=healthy)
        if isinstance(step, AddServer):
            arguments = server_arguments(service, server)
            line = f"{haproxy_runtime.add(service.name, server.name, arguments)}; {line}"
        self._execute(line)

    def _leave(
        self, service: str, steps: Sequence[Drain | Remove | Replace], live: LiveService
    ) -> None:
        servers = {server.name: server for server in live.servers}
        for step in steps:
            if isinstance(step, Drain):
                self._execute(haproxy_runtime.drain(service, step.name))
            elif self._may_go(service, step, servers[step.name]) or self._dry_run:
                if self._version is None:
                    self._version = self._runtime.version()
                self._execute(haproxy_runtime.remove(service, step.name, self._version))
                if isinstance(step, Replace):
                    self._replaced = True

    def _may_go(self, service: str, step: Remove | Replace, found: LiveServer) -> bool:
        now = time.monotonic()
        since = self._draining.setdefault((service, step.name), now)
        if not found.draining:
            # Until a moment ago it got sessions: what it has now is for the next pass to see.
            return found.maintenance
        return found.sessions == 0 or now - since >= step.drain_ms / 1000

    def _forget_undrained(self, live: Live) -> None:
        draining = {(n, s.name) for n, found in live.items() for s in found.servers if s.draining}
        for key in self._draining.keys() - draining:
            del self._draining[key]

    def _execute(self, line: str) -> None:
        self._commands.append(line)
        if self._dry_run:
            return
        try:
            self._runtime.execute(line)
        except CommandRefused as refused:
            if not refused.busy:
                self._problems.append(str(refused))

    def _read_back(self, after: str) -> float | None:
        """Compare what runs with what was wanted; when to look again."""
        live = self._runtime.services()
        plan = self._plan(live, after)
        missing = [
            f"{name}: {type(step).__name__} {step.name}"
            for name, step in plan.steps()
            if not isinstance(step, (Remove, Replace))
        ]
        if missing and self._replaced:
            return 0.0
        if missing and not self._problems:
            self._problems.append(f"HAProxy does not run what it took: {'; '.join(missing)}")
        return _pending(plan, live)

    def _result(self, plan: ServicePlan) -> ServiceResult:
        reason = self._refused.get(plan.name)
        if reason is not None:
            return ServiceResult(plan.name, (), (), (), (), reason, plan.refused)
        return ServiceResult(
            plan.name, plan.added, plan.removed, plan.changed, plan.kept, plan.held, plan.refused
        )


def _reading(service: Service, found: Mapping[str, bytes] | str) -> Reading:
    if isinstance(found, str):
        return Reading(failure=found)
    return read_registrations(found, Rules(service.instance_port, None))


def _pending(plan: Plan, live: Live) -> float | None:
    servers = {(name, s.name): s for name, found in live.items() for s in found.servers}
    leaving = [
        servers[name, step.name]
        for name, step in plan.steps()
        if isinstance(step, (Remove, Replace))
    ]
    return min((_SESSIONS_S if s.sessions else _EMPTY_S for s in leaving), default=None)


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _joined(earlier: ServiceResult, later: ServiceResult) -> ServiceResult:
    def union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({*one, *other}))

    changed = union(earlier.changed, later.changed)
    added = union(earlier.added, later.added)
    return replace(
        later,
        added=added,
        removed=union(earlier.removed, later.removed),
        changed=changed,
        kept=tuple(name for name in later.kept if name not in {*added, *changed}),
    )
