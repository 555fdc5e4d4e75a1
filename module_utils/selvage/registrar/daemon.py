"""The registrar: one ephemeral znode per healthy instance of this node.

Signals, watches and checks only put an event into a queue; one loop acts on them and owns
ZooKeeper. SIGTERM deregisters, waits out the drain time and ends; a second one ends the waiting.
SIGHUP validates the file and executes the program anew with the same process id: ZooKeeper keeps
the former session until its timeout, and the new image takes its znodes over before that.
"""

from __future__ import annotations

import enum
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kazoo.client import KazooClient

from ..fields import Invalid
from ..registry.session import Session
from ..system import systemd
from ..system.journal import event
from ..system.loop import Events
from .announcement import Announcement
from .announcer import UNREACHABLE, Announcer, Change, Outcome
from .checker import Checker
from .clashes import Clashes
from .drain import drained
from .health import Status, Wish, wish
from .notes import Notes, told
from .sessions import Sessions, this_host
from .settings import Announced, RegistrarSettings, load

_logger = logging.getLogger(__name__)


class Event(enum.Enum):
    """What wakes the loop."""

    STOP = enum.auto()
    RELOAD = enum.auto()
    CHANGED = enum.auto()  # a status or the connection: look at once
    TOUCHED = enum.auto()  # a znode: look, but no more often than once a turn


_SIGNALS: Final = {
    signal.SIGTERM: Event.STOP,
    signal.SIGINT: Event.STOP,
    signal.SIGHUP: Event.RELOAD,
}


@dataclass(frozen=True)
class Pace:
    """How often the loop looks, in seconds.

    An operator's drain is noticed after `turn_s` at the latest, what happened unseen in the
    registry after `verify_s`. After a failure it tries again in `retry_s`, which doubles up to
    `verify_s`. SIGTERM and SIGHUP try for `give_up_s` to reach a registry that is away.
    """

    turn_s: float = 1.0
    verify_s: float = 30.0
    retry_s: float = 1.0
    give_up_s: float = 5.0


class Registrar:
    """The daemon. `run` returns after SIGTERM, when nobody is left to wait for."""

    def __init__(
        self,
        settings: RegistrarSettings,
        config: Path,
        pace: Pace = Pace(),
        checker: Callable[[Announced, Callable[[], None]], Checker] = Checker,
    ) -> None:
        self._settings = settings
        self._config = config
        self._pace = pace
        self._events = Events(_SIGNALS)
        self._checkers = [
            checker(instance, lambda: self._events.put(Event.CHANGED))
            for instance in settings.instances
        ]
        self._stops = 0
        self._reload_asked = False
        self._leaving: frozenset[Announcement] = frozenset()
        self._drained: dict[str, str] = {}
        self._wishes: dict[Announcement, Wish] = {}
        self._registered: set[Announcement] = set()
        # A session ends within its timeout; twice that is not it any more.
        self._clashes = Clashes(2 * settings.registry.session_timeout_ms / 1000)
        self._sessions = Sessions(settings.sessions_file, this_host(settings.address))
        self._notes = Notes(settings.registry, self._sessions)
        self._left_at: dict[Announcement, float] = {}
        self._settled = False
        self._failures = 0
        self._passed_at = self._due_at = 0.0
        self._status = ""
        self._session = Session(
            settings.registry, lambda _: self._events.put(Event.CHANGED), self._take_client
        )

    def run(self) -> None:
        """Keep the registry as the checks and the operator say, until SIGTERM."""
        self._events.listen()
        for checker in self._checkers:
            checker.start()
        connect_s = self._settings.registry.connect_timeout_ms / 1000
        self._until(lambda: self._settled or self._stops > 0, connect_s)
        systemd.notify("READY=1")
        while not self._stops:
            self._step(self._pace.turn_s)
            if self._reload_asked:
                self._reload()
        self._leave()

    def _leave(self) -> None:
        """Deregister, wait until the clients have gone, end the session."""
        systemd.notify("STOPPING=1")
        self._take_out(checker.instance.announcement for checker in self._checkers)
        self._until(lambda: self._settled or self._stops > 1, self._pace.give_up_s)
        gone_at = [
            self._left_at[checker.instance.announcement] + checker.instance.drain_s
            for checker in self._checkers
            if checker.instance.announcement in self._left_at
        ]
        wait_s = max(0.0, max(gone_at, default=0.0) - time.monotonic())
        event(_logger, logging.INFO, "waiting for the clients to leave", seconds=f"{wait_s:.1f}")
        self._until(lambda: self._stops > 1, wait_s)
        self._session.close()

    def _reload(self) -> None:
        """Make way for a new image, unless the file is refused."""
        self._reload_asked = False
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            announced = {
                (new.announcement.service, new.announcement.port, new.announcement.address)
                for new in load(self._config).instances
            }
        except Invalid as error:
            event(_logger, logging.ERROR, "the former configuration goes on", refused=error)
            systemd.notify("READY=1")
            return
        for checker in self._checkers:
            checker.stop()
        # Where there is no such instance any more, and where it has another address.
        self._take_out(a for a in self._wishes if (a.service, a.port, a.address) not in announced)
        self._until(lambda: self._settled or self._stops > 0, self._pace.give_up_s)
        # A check under way has a child process or a time limit that the new image knows not of.
        while not self._stops and any(checker.is_alive() for checker in self._checkers):
            self._step(self._pace.turn_s)
        if not self._stops:
            self._events.block()
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - ourselves

    def _take_out(self, announcements: Iterable[Announcement]) -> None:
        self._leaving = frozenset(announcements)
        self._settled = False
        self._events.put(Event.CHANGED)

    def _until(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not done() and (left := deadline - time.monotonic()) > 0:
            self._step(min(left, self._pace.turn_s))

    def _step(self, wait_s: float) -> None:
        """Wait for events, at most that long, and act on what is so then."""
        for happening in self._events.take(wait_s):
            self._heed(happening)
        self._session.follow()
        self._follow_drain()
        wishes = {checker.instance.announcement: self._wish(checker) for checker in self._checkers}
        if wishes != self._wishes:
            self._wishes = wishes
            self._settled = False
            self._due_at = 0.0
        if self._session.connected and self._due_at <= time.monotonic():
            self._pass()
        if self._session.connected and not self._leaving:
            self._notes.keep(dict(self._reasons()))
        self._report()

    def _heed(self, happening: Event) -> None:
        if happening is Event.STOP:
            self._stops += 1
        elif happening is Event.RELOAD:
            self._reload_asked = True
        elif happening is Event.CHANGED:
            self._due_at = 0.0
        else:
            self._due_at = min(self._due_at, self._passed_at + self._pace.turn_s)

    def _wish(self, checker: Checker) -> Wish:
        announcement = checker.instance.announcement
        return wish(
            checker.health.status,
            announcement in self._leaving or announcement.service in self._drained,
        )

    def _reasons(self) -> Iterator[tuple[Announcement, str | None]]:
        """Why instances are not registered; None of those that shall be."""
        for checker in self._checkers:
            announcement = checker.instance.announcement
            if announcement.service in self._drained:
                yield announcement, f"drained: {self._drained[announcement.service]}"
            elif checker.health.status is Status.UP:
                yield announcement, None
            elif checker.health.status is Status.DOWN:
                yield announcement, told(checker.instance.check.type, checker.detail)

    def _pass(self) -> None:
        """Bring every znode to its wish; one that cannot be does not keep back the others."""
        self._passed_at = time.monotonic()
        outcomes: Mapping[Announcement, Outcome | Exception]
        try:
            outcomes = self._announcer.fulfil(self._wishes)
        except UNREACHABLE as error:
            outcomes = dict.fromkeys(self._wishes, error)
        failed = {a: error for a, error in outcomes.items() if isinstance(error, Exception)}
        for announcement, outcome in outcomes.items():
            if isinstance(outcome, Outcome):
                self._heed_outcome(announcement, outcome)
        self._tell_failures(failed)
        self._settled = not failed
        self._failures = self._failures + 1 if failed else 0
        pause_s = min(self._pace.retry_s * 2 ** min(self._failures, 8), self._pace.verify_s)
        self._due_at = self._passed_at + (pause_s if failed else self._pace.verify_s)

    def _heed_outcome(self, announcement: Announcement, outcome: Outcome) -> None:
        if outcome.change is not Change.NONE:
            # Someone else was at it, or the session was lost.
            again = outcome.registered and announcement in self._registered
            _say(logging.WARNING if again else logging.INFO, outcome.change.value, announcement)
        if outcome.change is Change.DEREGISTERED:
            self._left_at[announcement] = time.monotonic()
        if outcome.registered:
            self._registered.add(announcement)
        else:
            self._registered.discard(announcement)
        self._clashes.follow(announcement, outcome.clash, time.monotonic())

    def _tell_failures(self, failed: Mapping[Announcement, Exception]) -> None:
        """One line each; one for all of them when it is the registry that does not answer."""
        away = [a for a, error in failed.items() if isinstance(error, UNREACHABLE)]
        for announcement, error in failed.items():
            if announcement not in away[1:]:
                more = {"others": len(away) - 1} if announcement in away[:1] else {}
                _say(logging.WARNING, "not done, trying again", announcement,
                     error=repr(error), **more)  # fmt: skip

    def _take_client(self, client: KazooClient) -> None:
        self._announcer = Announcer(
            client,
            self._settings.registry,
            self._sessions,
            lambda: self._events.put(Event.TOUCHED),
        )
        self._notes.take_client(client)

    def _follow_drain(self) -> None:
        try:
            now_drained = drained(self._settings.drain_folder)
        except OSError as error:
            # What an operator took out stays out.
            event(_logger, logging.ERROR, "cannot see what is drained", error=error)
            return
        for service in sorted(now_drained.keys() ^ self._drained.keys()):
            if service in now_drained:
                reason = now_drained[service]
                event(_logger, logging.WARNING, "drained", service=service, reason=reason)
            else:
                event(_logger, logging.INFO, "no longer drained", service=service)
        self._drained = now_drained

    def _report(self) -> None:
        stuck = [checker.name for checker in self._checkers if checker.stuck]
        if stuck:
            event(_logger, logging.ERROR, "checks do not go on", stuck=", ".join(stuck))
        elif systemd.watchdog_seconds() is not None:
            systemd.notify("WATCHDOG=1")
        if self._stops:
            # The drain time is the file's matter; TimeoutStopSec does not know it.
            systemd.notify("EXTEND_TIMEOUT_USEC=30000000")
        clashing = ", ".join(self._clashes.names)
        unhealthy = [
            f"{checker.instance.announcement.service} ({checker.detail})"
            for checker in self._checkers
            if checker.health.status is Status.DOWN
        ]
        status = (
            f"{len(self._registered)} of {len(self._checkers)} instances registered;"
            f" the registry is {'there' if self._session.connected else 'away'}"
            + (f"; drained: {', '.join(self._drained)}" if self._drained else "")
            + (f"; not healthy: {', '.join(unhealthy)}" if unhealthy else "")
            + (f"; somebody else has: {clashing}" if clashing else "")
        )
        if status != self._status:
            self._status = status
            systemd.status(status)


def _say(level: int, sentence: str, announcement: Announcement, **more: object) -> None:
    event(_logger, level, sentence, service=announcement.service, child=announcement.child, **more)
