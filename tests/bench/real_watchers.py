"""Watchers as nodes have them: a session with kazoo and a `RegistryView` each, in one process.

They do with them what `selvage.reconciler` does. The first line of standard input says which, each
other one (`report`, `verify`) is answered with their tally.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from selvage.catalogue import Guards
from selvage.fields import Fields
from selvage.reconciler.daemon import _JITTER_S
from selvage.registry import connection, settings, view

from .watchers import ROOT, Tally

_THREADS = 4
_LIMIT_S = 600.0


class _RealWatcher:
    """One node. A pool reads for all: a thread for each would measure how Python shares itself."""

    def __init__(
        self, hosts: Sequence[str], services: Sequence[str], pool: Executor, tally: Tally
    ) -> None:
        fields = {"hosts": hosts, "root": ROOT}
        self._settings = settings.parse_settings(Fields(fields, "registry"))
        self._services = services
        self._pool = pool
        self._tally = tally
        self._lock = threading.Lock()
        self._known: view.Content = {}
        self.current = False

    def begin(self) -> None:
        """Read everything, and follow it from then on."""
        connected = threading.Event()
        self._client = connection.connect(
            self._settings, lambda state: connected.set() if state == "CONNECTED" else None
        )
        connected.wait()
        self._view = view.RegistryView(
            self._client,
            ROOT,
            dict.fromkeys(self._services, Guards()),
            lambda: self._pool.submit(self._follow),
        )
        self._client.add_listener(self._heed)
        self._follow()

    def _heed(self, state: str) -> None:
        self.current = False
        if state == "SUSPENDED":
            self._tally.lost.append(time.monotonic())
        elif state == "CONNECTED":
            self._view.expire()
            jitter_s = random.uniform(0, _JITTER_S)
            threading.Timer(jitter_s, self._pool.submit, [self._follow]).start()

    def _follow(self) -> None:
        with self._lock:
            try:
                self._view.refresh(_LIMIT_S)
            except connection.RegistryUnavailable:
                return  # It will be connected again.
            now, content = time.monotonic(), self._view.content
            if self.current:
                self._tell(now, content)
            else:
                self._tally.complete.append(now)
                self.current = True
            self._known = content

    def _tell(self, now: float, content: view.Content) -> None:
        for service in self._services:
            if content[service] is not self._known[service]:
                for child in content[service].keys() - self._known[service].keys():
                    self._tally.joined[f"{ROOT}/{service}/{child}"].append(now)

    def verify(self) -> None:
        """Look whether a watch was missed."""
        with self._lock:
            self._view.expire()
            self._view.refresh(_LIMIT_S)

    def end(self) -> None:
        """End the session."""
        connection.close(self._client)


def _serve() -> None:
    order = json.loads(sys.stdin.readline())
    tally = Tally(len(order["subscriptions"]))
    with ThreadPoolExecutor(_THREADS) as pool:
        watchers = [
            _RealWatcher(order["hosts"], services, pool, tally)
            for services in order["subscriptions"]
        ]
        list(pool.map(_RealWatcher.begin, watchers))
        while word := sys.stdin.readline().strip():
            if word == "verify":
                list(pool.map(_RealWatcher.verify, watchers))
            print(tally.dump(sum(watcher.current for watcher in watchers)), flush=True)
        list(pool.map(_RealWatcher.end, watchers))


if __name__ == "__main__":
    _serve()
