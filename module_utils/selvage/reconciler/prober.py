"""Probing instances that join: all at the same time, bounded, and never longer than a moment.

A pass takes the outcomes that are there in time and leaves the others to the next pass, so that an
instance that does not answer delays nobody but itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Final

from .. import checks
from ..catalogue import Service
from ..haproxy.servers import Server
from .workers import Workers

# A thread that waits costs some KiB.
_AT_ONCE: Final = 256
# A pass that waits for a probe comes at least once a second. What was healthy longer ago may have
# died since, as when the registry was away in between.
_FRESH_S: Final = 2.0


class Probe:
    """One probe of one server, under way or done."""

    def __init__(
        self,
        service: Service,
        server: Server,
        *,
        limit_s: float,
        fresh_s: float,
        clock: Callable[[], float],
        again: bool = False,
    ) -> None:
        timeout_ms = min(service.check.timeout_ms, int(limit_s * 1000))
        self._checked = replace(service, check=replace(service.check, timeout_ms=timeout_ms))
        self._server = server
        self._fresh_s = fresh_s
        self._clock = clock
        self._again = again
        self._begun = clock()
        self._deadline = self._begun + limit_s
        self._answered = 0.0
        self.future: Future[checks.CheckResult] = Future()

    def run(self) -> None:
        """Do the check, once."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = checks.probe(self._checked, self._server.address, self._server.port)
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self._answered = self._clock()
            self.future.set_result(result)

    @property
    def age_s(self) -> float:
        """Since when it is under way."""
        return self._clock() - self._begun

    @property
    def service(self) -> str:
        """The name of the server's service."""
        return self._checked.name

    @property
    def healthy(self) -> bool | None:
        """What the service's check says; None until it is decided, or when that is outdated.

        It is False when the check did not say anything in time, and when a second success was
        outdated too before anyone made use of it: HAProxy's own checks decide then.
        """
        if not self.future.done():
            return False if self._clock() >= self._deadline else None
        if self.future.cancelled() or not self.future.result().healthy:
            return False
        if self._clock() - self._answered < self._fresh_s:
            return True
        return False if self._again else None


class Prober:
    """The probes of one reconciler, by the server's name.

    Instances have `limit_s` to answer, and a success counts for `fresh_s`. Of the `at_once` probes
    at a time no service has all: whatever hangs there, others are probed.
    """

    def __init__(
        self,
        *,
        limit_s: float = 1.0,
        fresh_s: float = _FRESH_S,
        at_once: int = _AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit_s = limit_s
        self._fresh_s = fresh_s
        self._clock = clock
        self._workers = Workers("probe", at_once)
        self._probes: dict[str, Probe] = {}

    def start(self, service: Service, server: Server) -> Probe:
        """The probe of this server; begins with one unless it is under way, or has an outcome."""
        known = self._probes.get(server.name)
        if known is None or (known.future.done() and known.healthy is None):
            known = self._probes[server.name] = Probe(
                service,
                server,
                limit_s=self.limit_s,
                fresh_s=self._fresh_s,
                clock=self._clock,
                again=known is not None,
            )
            self._workers.submit(known.service, known.run)
        return known

    @property
    def probes(self) -> Mapping[str, Probe]:
        """The probes that are not forgotten, by server."""
        return self._probes

    def forget(self, server: str) -> None:
        """This server has joined, or no longer wants to: the next time it is probed anew."""
        probe = self._probes.pop(server, None)
        if probe is not None:
            probe.future.cancel()
            self._workers.withdraw(probe.service, probe.run)
