"""Making HAProxy equal to the registry: pass after pass, over what one reconciler remembers.

A pass never waits for sessions or for slow instances: what it leaves undone, because it was killed
for one, the next pass finds in what HAProxy runs and in the services file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..fields import Invalid
from ..haproxy import services_file
from ..haproxy.services_file import EMPTY
from ..haproxy.socket import HAProxyUnavailable
from ..planning.circumstances import Circumstances
from ..registry.connection import RegistryUnavailable, connected
from ..registry.view import Content, RegistryView
from ..system import lock
from . import metrics, overrides
from .memory import Memory, MemoryFile
from .metrics import Snapshot
from .names import Resolver
from .overrides import Override
from .prober import Prober
from .readings import Readings
from .result import Result, ServiceResult
from .settings import Settings
from .stages.one_pass import Pass, State

# What ends a pass before anything, or everything, is done. Each message is one line.
FAILURES: Final = (
    Invalid,
    RegistryUnavailable,
    HAProxyUnavailable,
    lock.Locked,
    services_file.FileFailed,
)
# HAProxy 2.6 keeps idle connections to a server for some seconds, and the server with them.
_GRACE_S: Final = 15.0

Registry = Callable[[], Content]


def reconcile(
    settings: Settings, *, dry_run: bool = False, released: Collection[str] = ()
) -> Result:
    """Pass after pass until nothing drains, or one dry run. Raises one of `FAILURES`.

    For `released` services the guards do not count. Others can work between two passes, so each
    reads the whole registry anew.
    """
    reconciler = Reconciler(settings)
    with connected(settings.registry) as client:
        view = RegistryView(client, settings.registry.root, (s.name for s in settings.services))
        read_at = 0.0

        def registry() -> Content:
            nonlocal read_at
            view.expire()
            view.refresh(settings.registry.session_timeout_ms / 1000)
            read_at = time.time()
            return view.content

        result = reconciler.run(registry, dry_run=dry_run, released=released)
        if dry_run:
            return result
        longest_ms = max((service.drain_ms for service in settings.services), default=0)
        deadline = time.monotonic() + longest_ms / 1000 + _GRACE_S
        pause_s = 0.0
        problems: tuple[str, ...] = ()
        while result.again_s is not None:
            if time.monotonic() >= deadline:
                problems = ("servers that left are still in use",)
                break
            pause_s = min(max(2 * pause_s, result.again_s), 1.0)
            time.sleep(pause_s)
            result = result.then(reconciler.run(registry, released=released))
    problems = (*result.problems, *problems)
    problem = reconciler.measure(read_at=read_at, connected=True, problems=len(problems))
    return replace(result, problems=problems if problem is None else (*problems, problem))


class Reconciler:
    """Makes HAProxy equal to the registry, pass by pass.

    `latest` holds what the last pass that looked at a service said about it. `on_address` is
    called, in another thread, when a pass can do something about a name.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        lock_limit_s: float = 30.0,
        on_address: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._lock_limit_s = lock_limit_s
        self._directory = Path(settings.state_directory)
        self._memory = MemoryFile(self._directory / "memory.json")
        self._state = State(EMPTY, Memory(), Prober(), {})
        resolver = Resolver(self._memory.load().addresses, on_change=on_address)
        self._readings = Readings(settings.services, resolver)
        self._maintained: frozenset[str] = frozenset()
        # What the next pass looks at beside what changed; None means everything.
        self._unfinished: frozenset[str] | None = None
        self._standing: tuple[str, ...] = ()
        self._overrides: tuple[Override, ...] = ()
        self._passed_at = 0.0
        self.latest: dict[str, ServiceResult] = {}

    def run(
        self,
        registry: Registry,
        *,
        whole: bool = True,
        dry_run: bool = False,
        released: Collection[str] = (),
    ) -> Result:
        """One pass. `registry` is called under the lock, and knows every service of the settings.

        A pass that is not `whole` looks only at services whose registrations changed and at what
        earlier passes left to do. Raises one of `FAILURES`. A dry run changes nothing, in no file
        and no socket.
        """
        with lock.held(self._directory / "lock", self._lock_limit_s, create=not dry_run):
            content = registry()
            memory = self._state.memory = self._memory.load()
            found, problems = overrides.load(self._directory / "overrides", time.time())
            maintained = frozenset(override.server for override in found)
            # Overrides begin and end without a change in the registry.
            whole = whole or maintained != self._maintained or self._unfinished is None
            # Until the pass has ended well, the next one has to look at everything.
            unfinished, self._unfinished = self._unfinished or frozenset(), None
            # A dry run is one pass, and shows what several would do.
            changed = self._readings.read(content, patient=dry_run)
            self._state.filed = services_file.read(self._settings.haproxy, self._state.filed)
            one = Pass(
                self._settings,
                self._readings.latest,
                self._node(memory, maintained, released),
                self._state,
                names=None if whole else (unfinished | changed) - self._state.refused.keys(),
                dry_run=dry_run,
            )
            try:
                result = one.run()
            finally:
                if not dry_run:
                    problems += self._remember()
        self._maintained, self._overrides = maintained, found
        self._passed_at = time.time()
        self.latest |= {service.name: service for service in result.services}
        self._unfinished = one.unfinished
        standing = self._standing
        if one.whole:
            # What was refused, and waits to be tried again, stands as it stood.
            waiting = {n: why for n, why in self._state.refused.items() if n in one.postponed}
            standing = standing if waiting else ()
            self._state.refused = {**waiting, **one.refusals}
            self._standing = (*standing, *one.standing)
        result = replace(result, problems=(*result.problems, *standing, *problems))
        looks_s = [max(0.0, override.until - time.time()) for override in found]
        looks_s += [result.look_s] if result.look_s is not None else []
        looks_s += [self._readings.look_s] if self._readings.look_s is not None else []
        agains_s = [s for s in (result.again_s, self._readings.again_s) if s is not None]
        return replace(
            result, again_s=min(agains_s, default=None), look_s=min(looks_s, default=None)
        )

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
        )
        path = Path(self._settings.metrics_file)
        try:
            metrics.write(path, metrics.render(snapshot))
        except OSError as error:
            return f"{path}: cannot be written: {error.strerror}"
        return None

    def _node(
        self, memory: Memory, maintained: Collection[str], released: Collection[str]
    ) -> Circumstances:
        return Circumstances(
            zone=self._settings.zone,
            peaks={
                service.name: memory.peak(service.name, service.guards.window_ms)
                for service in self._settings.services
                if service.name in memory.losses
            },
            maintained=maintained,
            released=released,
        )

    def _remember(self) -> tuple[str, ...]:
        """Save the memory; the problem with that, if there is one."""
        self._state.memory.addresses = dict(self._readings.addresses)
        try:
            self._memory.save()
        except OSError as error:
            return (f"{self._memory.path}: cannot be written: {error.strerror}",)
        return ()
