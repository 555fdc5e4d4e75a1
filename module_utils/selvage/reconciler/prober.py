"""Probing instances that join: all at the same time, bounded, and never longer than a moment.

A pass takes the outcomes that are there in time and leaves the others to the next pass, so that an
instance that does not answer delays nobody but itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from .. import checks
from ..catalogue import Service
from ..haproxy.servers import Server

# Instances that hang keep others waiting only when there are more of them at once. A thread that
# waits costs some KiB.
_AT_ONCE: Final = 256
# Who has not answered by then joins DOWN, and HAProxy's own checks raise it.
LIMIT_S: Final = 1.0


@dataclass(frozen=True)
class Probe:
    """One probe under way, or done; `healthy` is None until it is decided."""

    service: str
    future: Future[checks.CheckResult]
    deadline: float

    @property
    def healthy(self) -> bool | None:
        """What the service's check says; False when it did not say anything in time."""
        if self.future.done():
            return not self.future.cancelled() and self.future.result().healthy
        return False if time.monotonic() >= self.deadline else None


class Prober:
    """The probes of one reconciler, by the server's name."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, "probe")
        self._probes: dict[str, Probe] = {}

    def start(self, service: Service, server: Server) -> Probe:
        """The probe of this server; begins with one unless it is under way."""
        if server.name not in self._probes:
            timeout_ms = min(service.check.timeout_ms, int(LIMIT_S * 1000))
            check = replace(service.check, timeout_ms=timeout_ms)
            future = self._pool.submit(
                checks.probe, replace(service, check=check), server.address, server.port
            )
            self._probes[server.name] = Probe(service.name, future, time.monotonic() + LIMIT_S)
        return self._probes[server.name]

    @property
    def probes(self) -> Mapping[str, Probe]:
        """The probes that are not forgotten, by server."""
        return self._probes

    def forget(self, server: str) -> None:
        """This server has joined, or no longer wants to: the next time it is probed anew."""
        probe = self._probes.pop(server, None)
        if probe is not None:
            probe.future.cancel()
