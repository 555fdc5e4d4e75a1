"""The check loop of one instance: a thread that checks, waits, and knows the instance's health."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from .. import checks
from ..system.journal import event
from . import replication
from .health import Health, Status
from .settings import Announced

_GRACE_S: Final = 10.0
_logger = logging.getLogger(__name__)


def check(instance: Announced) -> checks.CheckResult:
    """Run the instance's check once, against the address that its clients use."""
    settings, announcement = instance.check, instance.announcement
    if settings.type == "exec":
        return checks.execute(settings.command, settings.timeout_s)
    if settings.type == "mysql":
        return replication.mysql(settings)
    if settings.type == "redis":
        return replication.redis(announcement.address, announcement.port, settings)
    if settings.type == "tcp":
        return checks.tcp(announcement.address, announcement.port, settings.timeout_s)
    return checks.http(announcement.address, announcement.port, settings.path, settings.timeout_s)


class Checker(threading.Thread):
    """Calls `on_change` on its own thread when the status of `health` has changed."""

    def __init__(
        self,
        instance: Announced,
        on_change: Callable[[], None],
        *,
        check: Callable[[Announced], checks.CheckResult] = check,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name=f"check {instance.announcement.service}", daemon=True)
        self.instance = instance
        self.health = Health(instance.check.rise, instance.check.fall)
        self.detail = ""
        self._on_change = on_change
        self._ended = threading.Event()
        self._check = check
        self._clock = clock
        self._beat = clock()

    def run(self) -> None:
        """Check until told to stop."""
        while not self._ended.is_set():
            self._beat = self._clock()
            self._take(self._check(self.instance))
            elapsed = self._clock() - self._beat
            self._ended.wait(max(0.0, self.instance.check.interval_s - elapsed))

    def stop(self) -> None:
        """Begin no more checks; a check under way ends within its time limit."""
        self._ended.set()

    @property
    def stuck(self) -> bool:
        """Whether no check has begun for longer than a healthy loop can take."""
        settings = self.instance.check
        limit = max(settings.interval_s, settings.timeout_s) + _GRACE_S
        return self._clock() - self._beat > limit

    def _take(self, result: checks.CheckResult) -> None:
        before = self.health.status
        self.detail = result.detail
        self.health = self.health.after(result.healthy)
        if self.health.status is before:
            return
        event(
            _logger,
            logging.INFO if self.health.status is Status.UP else logging.WARNING,
            "healthy" if self.health.status is Status.UP else "not healthy",
            service=self.instance.announcement.service,
            port=self.instance.announcement.port,
            check=result.detail,
        )
        self._on_change()
