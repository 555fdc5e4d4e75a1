"""One run of the reconciler: pass after pass until what was begun is done.

Cron's runs, the Ansible module and the operator's commands are such runs; the daemon makes its own
passes.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from ..fields import Invalid
from ..haproxy import services_file
from ..haproxy.socket import HAProxyUnavailable
from ..registry.connection import RegistryUnavailable, connected
from ..registry.view import Content, RegistryView
from ..system import lock
from .passes import Limits, Reconciler
from .result import Result
from .settings import Settings

# What ends a pass before anything, or everything, is done. Each message is one line.
FAILURES: Final = (
    Invalid,
    RegistryUnavailable,
    HAProxyUnavailable,
    lock.Locked,
    services_file.FileFailed,
)
# How long a run goes on with what it has begun, beside the time that a reload may have to wait.
_BEGUN_S: Final = 15.0
_LONGEST_PAUSE_S: Final = 1.0


def reconcile(
    settings: Settings,
    *,
    dry_run: bool = False,
    released: Collection[str] = (),
    awaited: Collection[str] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Result:
    """One run, or one dry run. Raises one of `FAILURES`.

    For `released` services the guards do not count. The run waits a while for servers of the
    services `awaited` (None for all) that drain. Those that still do at its end are deleted by the
    daemon, or by the next run.
    """
    reconciler = Reconciler(settings, limits)
    with ExitStack() as stack:
        registry = _Registry(settings, stack)
        try:
            result = reconciler.run(registry.read, dry_run=dry_run, released=released)
        except RegistryUnavailable as failure:
            raise RegistryUnavailable(f"{failure}; HAProxy goes on with what it has") from failure
        if dry_run:
            return result
        problems: tuple[str, ...] = ()
        began, pause_s = time.monotonic(), 0.0
        begun_limit_s = _BEGUN_S + 1.5 * settings.reload_interval_ms / 1000
        while result.again_s is not None:
            limit_s = limits.drains_s if _drains(result, awaited) else 0.0
            if result.begun_s is not None:
                limit_s = max(limit_s, begun_limit_s)
            if time.monotonic() - began >= limit_s:
                break
            pause_s = min(max(2 * pause_s, result.again_s), _LONGEST_PAUSE_S)
            time.sleep(pause_s)
            try:
                result = result.then(reconciler.run(registry.read, released=released))
            except FAILURES as failure:
                problems = (f"{failure}; what was done before that stays",)
                break
        if result.begun_s is not None and not problems:
            problems = ("not all that was begun could be done: run it again",)
    problems = (*result.problems, *problems)
    problem = reconciler.measure(
        read_at=registry.read_at, connected=registry.read_at > 0, problems=len(problems)
    )
    return replace(result, problems=problems if problem is None else (*problems, problem))


def _drains(result: Result, awaited: Collection[str] | None) -> bool:
    return any(s.draining for s in result.services if awaited is None or s.name in awaited)


class _Registry:
    """The registry for one run. Others work between two passes, so each reads all of it anew."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._limit_s = settings.registry.session_timeout_ms / 1000
        self._view: RegistryView | RegistryUnavailable
        self.read_at = 0.0
        try:
            # Before the lock is taken: a registry that is away keeps nobody else from working.
            client = stack.enter_context(connected(settings.registry))
        except RegistryUnavailable as error:
            self._view = error
        else:
            services = {service.name: service.guards for service in settings.services}
            self._view = RegistryView(client, settings.registry.root, services)

    def read(self) -> Content:
        """All services; raises `RegistryUnavailable`."""
        if isinstance(self._view, RegistryUnavailable):
            raise self._view
        self._view.expire()
        self._view.refresh(self._limit_s)
        self.read_at = time.time()
        return self._view.content
