"""The reconciler daemon: a pass whenever the registry changes, and one each resync interval.

Signals, watches and the connection only put an event into a queue; one loop makes the passes. It
never ends because of the registry or of HAProxy, and its own end changes nothing in HAProxy.
"""

from __future__ import annotations

import enum
import logging
import random
import signal
import time
from pathlib import Path
from typing import Final

from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState

from ..fields import Invalid
from ..registry.connection import RegistryUnavailable
from ..registry.session import Session
from ..registry.view import Content, RegistryView
from ..system import systemd
from ..system.journal import event
from ..system.loop import Events
from . import overrides
from .news import News
from .passes import Limits, Reconciler
from .reconcile import FAILURES
from .result import Result, ServiceResult
from .schedule import Schedule
from .settings import Settings, load

# After a lost connection the whole fabric reads everything anew: not all in the same moment.
_JITTER_S: Final = 1.0
_TURN_S: Final = 1.0
# Hands change HAProxy; that a watch is missed is only feared.
_RESYNCS_A_VERIFICATION: Final = 5
_LOCK_LIMIT_S: Final = 5.0
# How often metrics are written: at most while much happens, and when nothing does.
_METRICS_S: Final = 5.0
_METRICS_IDLE_S: Final = 15.0

_logger = logging.getLogger(__name__)


class Event(enum.Enum):
    """What wakes the loop."""

    STOP = enum.auto()
    RELOAD = enum.auto()
    CHANGED = enum.auto()
    CONNECTED = enum.auto()
    DISCONNECTED = enum.auto()


_SIGNALS: Final = {
    signal.SIGTERM: Event.STOP,
    signal.SIGINT: Event.STOP,
    signal.SIGHUP: Event.RELOAD,
}


class Daemon:
    """The daemon. `run` returns after SIGTERM or SIGINT."""

    def __init__(self, settings: Settings, config: Path) -> None:
        self._config = config
        self._events = Events(_SIGNALS)
        self._stop = False
        self._ready = False
        self._news = News()
        self._problems: tuple[str, ...] = ()
        self._summary = "no pass yet"
        self._status = ""
        self._fed_at = 0.0
        # When the registry was read, and whether watches would have told of a change since.
        self._read_at, self._current = 0.0, False
        self._measured_at = 0.0
        self._measured = True
        self._metrics_problem: str | None = None
        self._begin(settings)

    def _begin(self, settings: Settings) -> None:
        self._settings = settings
        self._reconciler = Reconciler(
            settings, Limits(lock_s=_LOCK_LIMIT_S), wake=lambda: self._events.put(Event.CHANGED)
        )
        connect_s = settings.registry.connect_timeout_ms / 1000
        self._schedule = Schedule(
            time.monotonic, settings.resync_interval_ms / 1000, time.monotonic() + connect_s
        )
        self._resyncs = 0
        self._overrides = Path(settings.state_directory, "overrides")
        self._overrides_at = overrides.changed_at(self._overrides)
        self._was_connected = False
        self._current = False
        # When there is more to be read, without a change.
        self._unread_s: float | None = None
        self._session = Session(
            settings.registry,
            lambda state: self._events.put(
                Event.CONNECTED if state == KazooState.CONNECTED else Event.DISCONNECTED
            ),
            self._take_client,
        )

    def _take_client(self, client: KazooClient) -> None:
        self._view = RegistryView(
            client,
            self._settings.registry.root,
            {service.name: service.guards for service in self._settings.services},
            lambda: self._events.put(Event.CHANGED),
        )

    def run(self) -> None:
        """Keep HAProxy equal to the registry."""
        self._events.listen()
        while not self._stop:
            self._wait()
            self._heed_overrides()
            self._session.follow()
            if not self._stop and not self._schedule.wait_s:
                self._pass()
            self._report()
        systemd.notify("STOPPING=1")
        self._session.close()

    def _wait(self) -> None:
        """Until something is due, heeding what happens."""
        for happening in self._events.take(min(self._schedule.wait_s, _TURN_S)):
            self._heed(happening)

    def _heed(self, happening: Event) -> None:
        if happening in (Event.CHANGED, Event.CONNECTED, Event.DISCONNECTED):
            self._current = False
        if happening is Event.STOP:
            self._stop = True
        elif happening is Event.RELOAD:
            self._reload()
        elif happening is Event.CHANGED:
            self._schedule.ask()
        elif happening is Event.CONNECTED:
            # kazoo does not set watches again: whatever is known may have changed unseen.
            self._view.expire()
            jitter_s = random.uniform(0, _JITTER_S) if self._was_connected else 0.0  # noqa: S311 - no secret
            self._was_connected = True
            self._schedule.put_off(jitter_s)

    def _heed_overrides(self) -> None:
        """A pass for what an operator has just set or ended: one knows when an override ends."""
        changed_at = overrides.changed_at(self._overrides)
        if changed_at != self._overrides_at:
            self._overrides_at = changed_at
            self._schedule.ask()

    def _reload(self) -> None:
        """Take new settings; a file that is refused leaves the former ones."""
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            settings = load(self._config)
        except Invalid as error:
            event(_logger, logging.ERROR, "the former configuration goes on", refused=error)
        else:
            self._session.close()
            self._begin(settings)
            event(_logger, logging.INFO, "new configuration", services=len(settings.services))
        systemd.notify("READY=1")

    def _pass(self) -> None:
        whole, resync = self._schedule.begin()
        self._resyncs += resync
        verified = resync and self._resyncs % _RESYNCS_A_VERIFICATION == 0
        result: Result | None = None
        self._unread_s = None
        try:
            result = self._reconciler.run(
                lambda: self._read(verified=verified), whole=whole, expected=self._view.stale
            )
        except FAILURES as failure:
            problems: tuple[str, ...] = (str(failure),)
        else:
            problems = result.problems
            for service in result.services:
                self._tell(service)
            self._tell_pass(result)
        self._tell_problems(problems)
        self._schedule.end(problems, result)
        if self._unread_s is not None:
            self._schedule.ask(self._unread_s)
        self._measured = False
        if not self._ready:
            self._ready = True
            systemd.notify("READY=1")

    def _read(self, *, verified: bool) -> Content:
        if not self._session.connected:
            raise RegistryUnavailable("the registry is away; HAProxy goes on with what it has")
        # Nobody feeds the watchdog meanwhile, and a session may be longer than its patience.
        limit_s = self._settings.registry.session_timeout_ms / 1000
        limit_s = min(limit_s, systemd.watchdog_seconds() or limit_s)
        if verified:
            self._view.expire()
        self._unread_s = self._view.refresh(limit_s)
        self._read_at, self._current = time.time(), True
        return self._view.content

    def _tell_problems(self, problems: tuple[str, ...]) -> None:
        """Each problem once, and that all have ended."""
        for problem in problems:
            if problem not in self._problems:
                event(_logger, logging.ERROR, "not done, trying again", problem=problem)
        if self._problems and not problems:
            event(_logger, logging.INFO, "all is well again")
        self._problems = problems

    def _tell(self, service: ServiceResult) -> None:
        """One line when something is new."""
        new = self._news.of(service)
        if new:
            bad = service.held or service.refused or service.drift or service.held_out
            level = logging.WARNING if bad else logging.INFO
            event(_logger, level, "service", name=service.name, servers=service.size, **new)

    def _tell_pass(self, result: Result) -> None:
        if result.reloaded:
            event(_logger, logging.INFO, "HAProxy reloaded")
        services = self._reconciler.latest.values()
        held = sum(service.held is not None for service in services)
        refused = sum(len(service.refused) for service in services)
        out = sum(len(service.held_out) for service in services)
        self._summary = (
            f"{len(services)} services, {sum(service.size for service in services)} servers"
            + (f"; {held} held" if held else "")
            + (f"; {refused} registrations refused" if refused else "")
            + (f"; {out} registrations held out" if out else "")
        )

    def _report(self) -> None:
        now = time.monotonic()
        watchdog_s = systemd.watchdog_seconds()
        if watchdog_s is not None and now - self._fed_at >= min(watchdog_s, _TURN_S):
            self._fed_at = now
            systemd.notify("WATCHDOG=1")
        pause_s = _METRICS_IDLE_S if self._measured else _METRICS_S
        if self._ready and now - self._measured_at >= pause_s:
            self._measured_at, self._measured = now, True
            self._measure()
        status = "; ".join([self._summary, *self._problems])
        if status != self._status:
            self._status = status
            systemd.status(status)

    def _measure(self) -> None:
        connected = self._session.connected
        if connected and self._current:
            self._read_at = time.time()
        problem = self._reconciler.measure(
            read_at=self._read_at, connected=connected, problems=len(self._problems)
        )
        if problem is not None and problem != self._metrics_problem:
            event(_logger, logging.ERROR, "no metrics", problem=problem)
        self._metrics_problem = problem
