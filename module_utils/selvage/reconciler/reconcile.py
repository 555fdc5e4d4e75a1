"""Making HAProxy equal to the registry: pass after pass, over what one reconciler remembers.

A pass never waits for sessions or for slow instances: what it leaves undone, because it was killed
for one, the next pass finds in what HAProxy runs and in the services file.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..fields import Invalid
from ..formats.registrations import Reading, hosts
from ..haproxy import services_file
from ..haproxy.services_file import EMPTY
from ..haproxy.socket import HAProxyUnavailable
from ..planning.circumstances import Circumstances
from ..planning.wanted import read_service
from ..registry.connection import RegistryUnavailable, connected
from ..registry.view import Content, RegistryView
from ..system import lock
from . import metrics
from .memory import Memory, MemoryFile
from .metrics import Snapshot
from .names import Resolver
from .overrides import Override, Overrides
from .prober import Prober
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

# How soon to ask again for the address of a name, and to see whether a new one has one by now.
_LOOK_UP_S: Final = 5.0
_NAMES_S: Final = 0.02

Registry = Callable[[], Content]


def reconcile(
    settings: Settings, *, dry_run: bool = False, released: Collection[str] = ()
) -> Result:
    """Pass after pass until nothing drains, or one dry run. Raises one of `FAILURES`.

    For `released` services the guards do not count. Others can work between two passes, so each
    reads the whole registry anew. Once a pass has been made, what ends the run is a problem of its
    result: what was done is told with it.
    """
    try:
        return _reconcile(settings, dry_run=dry_run, released=released)
    except RegistryUnavailable as failure:
        raise RegistryUnavailable(f"{failure}; HAProxy goes on with what it has") from failure


def _reconcile(settings: Settings, *, dry_run: bool, released: Collection[str]) -> Result:
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
            try:
                result = result.then(reconciler.run(registry, released=released))
            except FAILURES as failure:
                problems = (f"{failure}; what was done before that stays",)
                break
    problems = (*result.problems, *problems)
    problem = reconciler.measure(read_at=read_at, connected=True, problems=len(problems))
    return replace(result, problems=problems if problem is None else (*problems, problem))


@dataclass(frozen=True)
class _Known:
    """One service's registrations as they were read last, and what they were read from."""

    content: Mapping[str, bytes] | str
    hosts: frozenset[str]
    addresses: Mapping[str, str]
    reading: Reading


class Reconciler:
    """Makes HAProxy equal to the registry, pass by pass.

    `latest` holds what the last pass that looked at a service said about it.
    """

    def __init__(self, settings: Settings, *, lock_limit_s: float = 30.0) -> None:
        self._settings = settings
        self._ports = frozenset(service.port for service in settings.services)
        self._lock_limit_s = lock_limit_s
        self._directory = Path(settings.state_directory)
        self._memory = MemoryFile(self._directory / "memory.json")
        self._state = State(EMPTY, Memory(), Prober(), {})
        self._resolver = Resolver(self._memory.load().addresses)
        self._unresolved = False
        self._awaited: frozenset[str] = frozenset()
        self._known: dict[str, _Known] = {}
        self._maintained: frozenset[str] = frozenset()
        # What the next pass looks at beside what changed; None means everything.
        self._unfinished: frozenset[str] | None = None
        self._standing: tuple[str, ...] = ()
        self._overrides: tuple[Override, ...] = ()
        self._override_files = Overrides(self._directory / "overrides")
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
            found, problems = self._override_files.load(time.time())
            if not dry_run:
                with contextlib.suppress(OSError):  # They have no effect, and the disk is told of.
                    self._override_files.clear(time.time())
            maintained = frozenset(override.server for override in found)
            # Names get addresses, and overrides begin and end, without a change in the registry.
            whole = whole or self._unresolved or maintained != self._maintained
            whole = whole or self._unfinished is None
            # Until the pass has ended well, the next one has to look at everything.
            unfinished, self._unfinished = self._unfinished or frozenset(), None
            # A dry run is one pass, and shows what several would do.
            changed = self._read(content, whole=whole, patient=dry_run)
            self._state.filed = services_file.read(self._settings.haproxy, self._state.filed)
            one = Pass(
                self._settings,
                {name: known.reading for name, known in self._known.items()},
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
        looks_s += [_LOOK_UP_S] if self._unresolved else []
        if self._awaited:
            again_s = _NAMES_S if result.again_s is None else min(result.again_s, _NAMES_S)
            result = replace(result, again_s=again_s)
        return replace(result, look_s=min(looks_s, default=None))

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

    def _read(self, content: Content, *, whole: bool, patient: bool) -> set[str]:
        """Read the registrations that changed; the names of their services."""
        new: dict[str, frozenset[str]] = {}
        for name, found in content.items():
            known = self._known.get(name)
            if known is None or not (known.content is found or known.content == found):
                new[name] = frozenset() if isinstance(found, str) else hosts(found)
            elif whole and known.hosts:
                new[name] = known.hosts
        names = frozenset().union(*new.values())
        addresses = self._resolver.addresses(names, patient=patient) if names else {}
        self._unresolved = bool(names - addresses.keys())
        self._awaited = self._resolver.awaited & names
        changed = set()
        for service in self._settings.services:
            # Whoever lacks an address for a moment would look like someone who left.
            if service.name not in new or new[service.name] & self._awaited:
                continue
            found = content[service.name]
            own = {host: addresses[host] for host in new[service.name] if host in addresses}
            known = self._known.get(service.name)
            if known is not None and known.content == found and known.addresses == own:
                continue
            reading = read_service(service, found, own, self._ports)
            self._known[service.name] = _Known(found, new[service.name], own, reading)
            changed.add(service.name)
        return changed

    def _remember(self) -> tuple[str, ...]:
        """Save the memory; the problem with that, if there is one."""
        self._state.memory.addresses = dict(self._resolver.known)
        try:
            self._memory.save()
        except OSError as error:
            return (f"{self._memory.path}: cannot be written: {error.strerror}",)
        return ()
