"""The master's CLI: reloads that are known to have succeeded."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..formats.grammar import printable
from .runtime import Runtime
from .socket import HAProxyUnavailable, exchange

_PROCESS: Final = re.compile(
    r"([0-9]+) +(master|worker) +([0-9]+) (?:\[failed: [0-9]+\])? *([0-9]+d\S+)"
)
# Two reloads 10 to 60 ms apart can leave the last configuration not running.
_RELOAD_PAUSE_S: Final = 0.1
# The master counts whole seconds of the clock, so that the second one may be a moment ago too.
_JUST_NOW: Final = ("0d00h00m00s", "0d00h00m01s")


class ReloadFailed(Exception):
    """HAProxy goes on with its former configuration; the message says why, in one line."""


@dataclass(frozen=True)
class _Processes:
    """The master's view. `worker` is the one of the last load, None when that load failed.

    `young` says that the last load may be a moment ago.
    """

    master: int
    reloads: int
    worker: int | None
    young: bool


class Master:
    """The master's CLI: reloads that are known to have succeeded."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def reload(self, runtime: Runtime) -> None:
        """Load the configuration files; returns when the new worker answers on `runtime`.

        Raises `ReloadFailed` when HAProxy refuses them: it then goes on as before.
        """
        deadline = time.monotonic() + self._timeout_s
        # Someone else's reload, or one whose author was killed, may be under way.
        before = self._wait(lambda _: True, deadline)
        if before.young:
            time.sleep(_RELOAD_PAUSE_S)
        try:
            answer = self._ask("reload")
        except HAProxyUnavailable:
            # HAProxy 2.6 answers nothing, nor may a master that replaces itself: the list tells.
            answer = ""
        deadline = time.monotonic() + self._timeout_s
        former = before.master, before.reloads
        after = self._wait(lambda now: (now.master, now.reloads) != former, deadline)
        if after.worker is None or answer.startswith("Success=0"):
            raise ReloadFailed(
                _alerts(answer) or "HAProxy refused the configuration; its log says why"
            )
        # While both workers run, the former one may still take a connection.
        while runtime.process() != after.worker:
            _pause(deadline, "HAProxy's new worker does not answer on the stats socket")
        time.sleep(_RELOAD_PAUSE_S)

    def _wait(self, what: Callable[[_Processes], bool], deadline: float) -> _Processes:
        """The processes once this holds for them; the master is away while it replaces itself."""
        while True:
            try:
                processes = self._processes()
                if what(processes):
                    return processes
                problem = "the master has not reloaded"
            except HAProxyUnavailable as error:
                problem = str(error)
            _pause(deadline, problem)

    def _processes(self) -> _Processes:
        answer = self._ask("show proc")
        rows = [match.groups() for match in map(_PROCESS.match, answer.split("\n")) if match]
        masters = [row for row in rows if row[1] == "master"]
        # A blank line ends it. Without its second half, no worker would be left.
        if not masters or not answer.endswith("\n\n"):
            raise HAProxyUnavailable(f"{self._path}: not a list of processes: {printable(answer)}")
        master, _, reloads, _ = masters[0]
        workers = [row for row in rows if row[1:3] == ("worker", "0")]
        worker = int(workers[0][0]) if workers else None
        young = any(kind == "worker" and age in _JUST_NOW for _, kind, _, age in rows)
        return _Processes(int(master), int(reloads), worker, young)

    def _ask(self, line: str) -> str:
        # HAProxy 2.6's master keeps the connection until its client has said everything.
        return exchange(self._path, line, self._timeout_s, half_close=True)


def _pause(deadline: float, problem: str) -> None:
    if time.monotonic() >= deadline:
        raise HAProxyUnavailable(f"HAProxy was not reloaded in time: {problem}")
    time.sleep(0.01)


def _alerts(log: str) -> str:
    alerts = re.findall(r"^\[ALERT\] +\([0-9]+\) : (.+)$", log, re.MULTILINE)
    return printable("; ".join(alerts), 600)
