"""The registrar: one ephemeral znode per healthy instance of this node.

Signals, watches and checks only put an event into a queue; one loop acts on them and owns
ZooKeeper. SIGTERM deregisters, waits out the drain time and ends; a second one ends the waiting.
SIGHUP validates the file and executes the program anew with the same process id: ZooKeeper keeps
the former session until its timeout, and the new image takes its znodes over before that.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import logging
import os
import queue
import signal
import sys
import time
from pathlib import Path
from typing import Final

from kazoo.exceptions import KazooException

from . import registry, systemd
from .announcement import Announcement
from .announcer import UNREACHABLE, Announcer, Change
from .checker import Checker
from .drain import drained
from .fields import Invalid
from .health import Status
from .log import event, setup
from .registrar_settings import DEFAULT_PATH, RegistrarSettings, load

TURN_S: Final = 1.0  # how late an operator's drain may be noticed
VERIFY_S: Final = 30.0
RETRY_S: Final = 0.5, 30.0  # the first and the longest pause after a failure
GIVE_UP_S: Final = 5.0  # how long SIGTERM and SIGHUP try to reach a registry that is away

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_logger = logging.getLogger(__name__)


class Event(enum.Enum):
    """What wakes the loop."""

    STOP = enum.auto()
    RELOAD = enum.auto()
    CHANGED = enum.auto()  # a status or the connection: look at once
    TOUCHED = enum.auto()  # a znode: look, but no more often than each TURN_S


class Wish(enum.Enum):
    """What shall be in the registry for one instance."""

    PRESENT = enum.auto()
    ABSENT = enum.auto()
    AS_FOUND = enum.auto()


def wish(status: Status, leaving: bool) -> Wish:
    """Until the checks have decided, what a former session registered stays registered."""
    if leaving or status is Status.DOWN:
        return Wish.ABSENT
    return Wish.PRESENT if status is Status.UP else Wish.AS_FOUND


class Registrar:
    """The daemon. `run` returns after SIGTERM, when nobody is left to wait for."""

    def __init__(self, settings: RegistrarSettings, config: Path) -> None:
        self._settings = settings
        self._config = config
        # Signal handlers put events too: SimpleQueue's `put` may interrupt itself.
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._checkers = [
            Checker(instance, lambda: self._events.put(Event.CHANGED))
            for instance in settings.instances
        ]
        self._stops = 0
        self._reload_asked = False
        self._leaving: frozenset[Announcement] = frozenset()
        self._drained: dict[str, str] = {}
        self._wishes: dict[Announcement, Wish] = {}
        self._registered: set[Announcement] = set()
        self._settled = False
        self._failures = 0
        self._passed_at = self._due_at = 0.0
        self._connected = False
        self._status = ""
        self._connect()

    def run(self) -> None:
        """Keep the registry as the checks and the operator say, until SIGTERM."""
        for number, happening in _SIGNALS.items():
            signal.signal(number, lambda *_, happening=happening: self._events.put(happening))
        # The former image blocked them before it made way for this one.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for checker in self._checkers:
            checker.start()
        connect_s = self._settings.registry.connect_timeout_ms / 1000
        self._until(lambda: self._settled or self._stops > 0, connect_s)
        systemd.notify("READY=1")
        while not self._stops:
            self._step()
            if self._reload_asked:
                self._reload()
        self._leave()

    def _leave(self) -> None:
        """Deregister, wait until the clients have gone, end the session."""
        systemd.notify("STOPPING=1")
        drain_s = max(
            (
                checker.instance.drain_s
                for checker in self._checkers
                if checker.instance.announcement in self._registered
            ),
            default=0.0,
        )
        self._take_out(checker.instance.announcement for checker in self._checkers)
        self._until(lambda: self._settled or self._stops > 1, GIVE_UP_S)
        event(_logger, logging.INFO, "waiting until the clients have gone", seconds=drain_s)
        self._until(lambda: self._stops > 1, drain_s)
        registry.close(self._client)

    def _reload(self) -> None:
        """Make way for a new image, unless the file is refused."""
        self._reload_asked = False
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            announced = {
                (instance.announcement.service, instance.announcement.port)
                for instance in load(self._config).instances
            }
        except Invalid as error:
            event(_logger, logging.ERROR, "the former configuration goes on", refused=error)
            systemd.notify("READY=1")
            return
        for checker in self._checkers:
            checker.stop()
        self._take_out(a for a in self._wishes if (a.service, a.port) not in announced)
        self._until(lambda: self._settled or self._stops > 0, GIVE_UP_S)
        # A check under way has a child process or a time limit that the new image knows not of.
        while not self._stops and any(checker.is_alive() for checker in self._checkers):
            self._step()
        if not self._stops:
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - ourselves

    def _take_out(self, announcements: Iterable[Announcement]) -> None:
        self._leaving = frozenset(announcements)
        self._settled = False
        self._due_at = 0.0

    def _until(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not done() and (left := deadline - time.monotonic()) > 0:
            self._step(min(left, TURN_S))

    def _step(self, wait_s: float = TURN_S) -> None:
        """Act once, then wait for events."""
        self._follow_connection()
        self._follow_drain()
        wishes = {
            checker.instance.announcement: self._wish(checker) for checker in self._checkers
        }
        if wishes != self._wishes:
            self._wishes = wishes
            self._settled = False
            self._due_at = 0.0
        if self._client.connected and self._due_at <= time.monotonic():
            self._pass()
        self._report()
        with contextlib.suppress(queue.Empty):
            self._heed(self._events.get(timeout=wait_s))
            while True:
                self._heed(self._events.get_nowait())

    def _heed(self, happening: Event) -> None:
        if happening is Event.STOP:
            self._stops += 1
        elif happening is Event.RELOAD:
            self._reload_asked = True
        elif happening is Event.CHANGED:
            self._due_at = 0.0
        else:
            self._due_at = min(self._due_at, self._passed_at + TURN_S)

    def _wish(self, checker: Checker) -> Wish:
        announcement = checker.instance.announcement
        return wish(
            checker.health.status,
            announcement in self._leaving or announcement.service in self._drained,
        )

    def _pass(self) -> None:
        """Bring every znode to its wish; one that cannot be does not keep back the others."""
        self._passed_at = time.monotonic()
        settled = True
        for announcement, wanted in self._wishes.items():
            try:
                self._fulfil(announcement, wanted)
            except (KazooException, KazooTimeoutError) as error:
                settled = False
                _say(logging.WARNING, "the registry refuses, trying again", announcement, error)
                if isinstance(error, UNREACHABLE):
                    break
        self._settled = settled
        self._failures = 0 if settled else self._failures + 1
        pause_s = min(RETRY_S * 2**self._failures, VERIFY_S)
        self._due_at = self._passed_at + (VERIFY_S if settled else pause_s)

    def _fulfil(self, announcement: Announcement, wanted: Wish) -> None:
        if wanted is Wish.ABSENT:
            change: Change | None = self._announcer.withdraw(announcement)
            self._registered.discard(announcement)
        else:
            change = self._announcer.announce(
                announcement, only_if_there=wanted is Wish.AS_FOUND
            )
        if change not in (None, Change.NONE):
            _say(logging.INFO, change.value, announcement)
        if wanted is not Wish.ABSENT and change is not None:
            self._registered.add(announcement)
