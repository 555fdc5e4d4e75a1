"""Pass after pass over what one reconciler remembers.

A pass never waits for sessions or for slow instances: what it leaves undone, because it was killed
for one, the next pass finds in what HAProxy runs and in the services file.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..formats.registrations import Reading
from ..haproxy import services_file
from ..haproxy.runtime import Runtime
from ..haproxy.servers import BreakerState
from ..haproxy.services_file import EMPTY
from ..haproxy.socket import HAProxyUnavailable
from ..planning.circumstances import Circumstances
from ..registry.connection import RegistryUnavailable
from ..registry.view import Content
from ..system import lock
from . import metrics
from .memory import Memory, MemoryFile
from .metrics import Snapshot
from .names import Resolver
from .overrides import Override, Overrides
from .prober import Prober
from .readings import Readings
from .result import Result, ServiceResult
from .settings import Settings
from .stages.one_pass import Pass
from .stages.planner import Planner
from .stages.state import State

Registry = Callable[[], Content]


@dataclass(frozen=True)
class Limits:
    """How many seconds a reconciler waits: for the lock, a pass for probes, a run for drains."""

    lock_s: float = 30.0
    # Most instances answer within a few milliseconds.
    probes_s: float = 0.05
    # Who has not answered its probe by then joins DOWN, and HAProxy's own checks raise it.
    probe_s: float = 1.0
    # A patient run waits that long for the address of a name that it asks for first.
    names_s: float = 1.0
    # HAProxy 2.6 keeps idle connections to a server for some seconds, and the server with them.
    # Sessions may last for hours: they are left to later runs.
    drains_s: float = 15.0


class Reconciler:
    """Makes HAProxy equal to the registry, pass by pass.

    `latest` holds what the last pass that looked at a service said about it. `wake` is called, in
    another thread, when another pass can go on with what one has left.
    """

    def __init__(
        self,
        settings: Settings,
        limits: Limits = Limits(),
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._services = {service.name: service for service in settings.services}
        self._directory = Path(settings.state_directory)
        self._memory = MemoryFile(self._directory / "memory.json")
        self._state = State(EMPTY, Memory(), Prober(limit_s=limits.probe_s))
        resolver = Resolver(self._memory.load().addresses, on_change=wake, wait_s=limits.names_s)
        self._readings = Readings(settings.services, resolver)
        self._overrides: tuple[Override, ...] = ()
        self._override_files = Overrides(self._directory / "overrides")
        # What the next pass looks at beside what changed; None means everything.
        self._unfinished: frozenset[str] | None = None
        self._passed_at = 0.0
        self.latest: dict[str, ServiceResult] = {}

    def run(
        self,
        registry: Registry,
        *,
        whole: bool = True,
        dry_run: bool = False,
        released: Collection[str] = (),
        expected: Collection[str] = (),
    ) -> Result:
        """One pass. `registry` is called under the lock, and knows every service of the settings.

        A pass that is not `whole` looks only at services whose registrations changed and at what
        earlier passes left to do; about those that are `expected` to have changed HAProxy is asked
        while the registry is read. While the registry is away a pass only sees to overrides, and to
        services of which one server alone may serve. Raises one of `FAILURES`. A dry run changes
        nothing, in no file and no socket.
        """
        haproxy = self._settings.haproxy
        with (
            lock.held(self._directory / "lock", self._limits.lock_s, create=not dry_run),
            contextlib.closing(Runtime(haproxy.admin_socket, haproxy.timeout_ms / 1000)) as runtime,
        ):
            memory = self._state.memory = self._memory.load()
            former = self._overrides
            self._overrides, problems = self._override_files.load(time.time())
            if not dry_run:
                # Those that ended have no effect: a disk that keeps them is told of elsewhere.
                with contextlib.suppress(OSError):
                    self._override_files.clear(time.time())
            self._state.filed = services_file.read(haproxy, self._state.filed)
            # Until the pass has ended well, the next one has to look at everything.
            unfinished, self._unfinished = self._unfinished, None
            names: frozenset[str] | None
            away: RegistryUnavailable | None = None
            if not whole:
                runtime.ask_ahead(expected)
            try:
                content = registry()
            except RegistryUnavailable as error:
                away, names = error, self._overridden() | self._alone
                if not names:
                    raise
                planner = self._planner_without_registry(memory, str(error))
            else:
                whole = whole or unfinished is None
                # A dry run is one pass, and shows what several would do.
                changed = self._readings.read(content, patient=dry_run)
                moved = {override.service for override in {*former} ^ {*self._overrides}}
                names = None if whole else (changed | moved | (unfinished or set())) & self._names
                planner = self._planner(memory, self._readings.latest, released)
            patience_s = self._limits.probe_s if dry_run else self._limits.probes_s
            one = Pass(
                self._settings,
                planner,
                self._state,
                runtime,
                patience_s=patience_s,
                dry_run=dry_run,
            )
            try:
                passed = one.run(names)
                memory.held_out |= {
                    service.name: [(one.child, one.reason) for one in service.held_out]
                    for service in passed.result.services
                }
            finally:
                if not dry_run:
                    problems += self._remember()
        result = passed.result
        if away is None:
            self._unfinished = passed.unfinished
        else:
            problems += (str(away),)
            result = replace(result, away=str(away))
        self._passed_at = time.time()
        self.latest |= {service.name: service for service in result.services}
        return self._with_others(result, problems)

    def measure(self, *, read_at: float, connected: bool, problems: int) -> str | None:
        """Write the metrics, with these parts of the `Snapshot`; the problem with that, if any."""
        now = time.time()
        snapshot = Snapshot(
            read_at=read_at,
            passed_at=self._passed_at,
            connected=connected,
            problems=problems,
            overrides=sum(override.until > now for override in self._overrides),
            services=self.latest.values(),
            counters=self._state.memory.counters,
            breakers=self._breakers(),
            at=now,
        )
        path = Path(self._settings.metrics_file)
        try:
            metrics.write(path, metrics.render(snapshot))
        except OSError as error:
            return f"{path}: cannot be written: {error.strerror}"
        return None

    @property
    def _names(self) -> frozenset[str]:
        return frozenset(self._services)

    def _breakers(self) -> Mapping[str, Mapping[str, BreakerState]]:
        haproxy = self._settings.haproxy
        names = [name for name, service in self._services.items() if service.breaker is not None]
        try:
            return Runtime(haproxy.admin_socket, haproxy.timeout_ms / 1000).breakers(names)
        except HAProxyUnavailable:
            # The passes say so.
            return {}

    @property
    def _alone(self) -> frozenset[str]:
        """The services of which two servers must not serve, whatever else is not known."""
        return frozenset(
            service.name
            for service in self._settings.services
            if service.guards.max_servers is not None
        )

    def _overridden(self) -> frozenset[str]:
        """The services with servers that an operator has taken out, or had taken out."""
        names = {override.service for override in self._overrides}
        names |= {
            name
            for name, section in self._state.filed.sections.items()
            if any(server.disabled for server in section.servers)
        }
        return frozenset(names) & self._names

    def _planner(
        self, memory: Memory, readings: Mapping[str, Reading], released: Collection[str]
    ) -> Planner:
        circumstances = Circumstances(
            zone=self._settings.zone,
            peaks={
                service.name: memory.peak(service.name, service.guards.window_ms)
                for service in self._settings.services
                if service.name in memory.losses
            },
            maintained=frozenset(override.server for override in self._overrides),
            released=released,
        )
        return Planner(self._services, readings, circumstances, self._state.verified)

    def _planner_without_registry(self, memory: Memory, reason: str) -> Planner:
        """Nothing follows from a registry that is away; what operators want of servers does."""
        readings = {name: Reading(failure=reason) for name in self._services}
        planner = self._planner(memory, readings, ())
        return replace(planner, kept=dict.fromkeys(self._services, reason))

    def _with_others(self, result: Result, problems: tuple[str, ...]) -> Result:
        """The result with what is not the pass's: names, overrides that end, files that fail."""
        looks_s = [max(0.0, override.until - time.time()) for override in self._overrides]
        looks_s += [s for s in (result.look_s, self._readings.look_s) if s is not None]
        begun_s = [s for s in (result.begun_s, self._readings.again_s) if s is not None]
        return replace(
            result,
            problems=(*result.problems, *problems),
            begun_s=min(begun_s, default=None),
            look_s=min(looks_s, default=None),
        )

    def _remember(self) -> tuple[str, ...]:
        """Save the memory; the problem with that, if there is one."""
        memory = self._state.memory
        memory.addresses = dict(self._readings.addresses)
        memory.held_out = {n: h for n, h in memory.held_out.items() if h and n in self._services}
        try:
            self._memory.save()
        except OSError as error:
            return (f"{self._memory.path}: cannot be written: {error.strerror}",)
        return ()
