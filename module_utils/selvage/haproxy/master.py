"""The master's CLI: reloads that are known to have succeeded, and workers that they left behind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ..formats.grammar import printable
from .runtime import Runtime
from .socket import HAProxyUnavailable, exchange

_PROCESS: Final = re.compile(
    r"([0-9]+) +(master|worker) +([0-9]+) (?:\[failed: [0-9]+\])? *([0-9]+d\S+)"
)
# `show sess`: HAProxy's management guide. A worker that has just ended is not found any more.
_SESSION: Final = re.compile(
    r"^(0x[0-9a-f]+): proto=\S+ src=\S+ fe=\S+ be=(\S+) srv=(\S+) ", re.MULTILINE
)
_GONE: Final = "Can't find the target"
# So many commands stay below the 16 KiB that a line may have.
_SESSIONS_A_LINE: Final = 100
# Two reloads 10 to 60 ms apart can leave the last configuration not running.
_RELOAD_PAUSE_S: Final = 0.1
# The master counts whole seconds of the clock, so that the second one may be a moment ago too.
_JUST_NOW: Final = ("0d00h00m00s", "0d00h00m01s")


class ReloadFailed(Exception):
    """HAProxy goes on with its former configuration; the message says why, in one line."""


@dataclass(frozen=True)
class _Processes:
    """The master's view. `worker` is the one of the last load, None when that load failed.

    `workers` are all that run. `young` says that the last load may be a moment ago.
    """

    master: int
    reloads: int
    worker: int | None
    workers: tuple[int, ...]
    young: bool


@dataclass(frozen=True)
class Session:
    """A session of a worker that does not serve any more; `identity` is HAProxy's name for it."""

    worker: int
    identity: str
    service: str
    server: str


class Master:
    """The master's CLI: reloads that are known to have succeeded, and workers that they left."""

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

    def sessions(self, serving: int, services: Collection[str]) -> tuple[Session, ...]:
        """The sessions of these services in all workers but the one that serves.

        A reload leaves them there until they end by themselves. Raises `HAProxyUnavailable`.
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._sessions(serving, services)
            except HAProxyUnavailable:
                # The master is away while it replaces itself.
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.01)

    def _sessions(self, serving: int, services: Collection[str]) -> tuple[Session, ...]:
        found = []
        for worker in self._processes().workers:
            if worker == serving:
                continue
            answer = self._ask(f"@!{worker} show sess")
            if answer.startswith(_GONE):
                continue
            if not answer.endswith("\n\n"):
                raise HAProxyUnavailable(f"{self._path}: HAProxy's list of sessions is cut off")
            found += [
                Session(worker, identity, service, server)
                for identity, service, server in _SESSION.findall(answer)
                if service in services
            ]
        return tuple(found)

    def end(self, sessions: Sequence[Session]) -> None:
        """End these sessions; what has ended by itself is no fault.

        Such a worker refuses commands for its servers, because their proxies have stopped. Raises
        `HAProxyUnavailable`.
        """
        for start in range(0, len(sessions), _SESSIONS_A_LINE):
            part = sessions[start : start + _SESSIONS_A_LINE]
            self._ask("; ".join(f"@!{s.worker} shutdown session {s.identity}" for s in part))

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
        every = tuple(int(row[0]) for row in rows if row[1] == "worker")
        young = any(kind == "worker" and age in _JUST_NOW for _, kind, _, age in rows)
        return _Processes(int(master), int(reloads), worker, every, young)

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
