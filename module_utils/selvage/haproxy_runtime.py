"""HAProxy's two sockets: the Runtime API of the serving worker, and the master's CLI.

One connection carries one line of commands, joined with `;`, and is read to its end: some replies
of HAProxy 2.6 lack the blank line that should close them, so replies are matched line by line.
"""

from __future__ import annotations

import operator
import re
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .model import WEIGHT_MAX, LiveServer, LiveService
from .sections import variable_name

# What HAProxy takes (`invalid_char`): somebody may have added a server of any such name by hand.
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_SERVICE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ARGUMENTS: Final = re.compile(r"[A-Za-z0-9_.:/\[\] -]+")
_VARIABLE: Final = re.compile(r"(\S+): type=str value=<(.*)>")
_PROCESS: Final = re.compile(
    r"([0-9]+) +(master|worker) +([0-9]+) (?:\[failed: [0-9]+\])? *([0-9]+d\S+)"
)

# What confirms a command; the others say nothing when they succeed.
_CONFIRMATIONS: Final = {
    "add server ": "New server registered.",
    "del server ": "Server deleted.",
}
_BUSY: Final = "Server still has connections attached to it, cannot remove it."
# srv_admin_state and srv_check_state: HAProxy's management guide, "show servers state".
# Not 0x04, which says for good that the file had the server `disabled`.
_MAINTENANCE: Final = 0x01 | 0x02 | 0x20 | 0x40
_DRAIN: Final = 0x08 | 0x10
_CHECK_ENABLED: Final = 0x04
_STOPPED: Final = 0
_STATE: Final = (
    "be_name",
    "srv_name",
    "srv_addr",
    "srv_port",
    "srv_uweight",
    "srv_op_state",
    "srv_admin_state",
    "srv_check_state",
)
_STAT: Final = ("pxname", "svname", "scur", "slim", "bck")
_NO_BACKEND: Final = "Can't find backend."
# HAProxy 3.2 takes 64 words a line.
_VARIABLES_A_LINE: Final = 16
# Two reloads 10 to 60 ms apart can leave the last configuration not running.
_RELOAD_PAUSE_S: Final = 0.1
# The master counts whole seconds of the clock, so that the second one may be a moment ago too.
_JUST_NOW: Final = ("0d00h00m00s", "0d00h00m01s")


class HAProxyUnavailable(Exception):
    """HAProxy does not answer; the message is one line for the operator."""


class CommandRefused(Exception):
    """HAProxy refused a command; `busy` when the server to be deleted is still in use."""

    def __init__(self, line: str, answer: str) -> None:
        super().__init__(f"HAProxy answered {' '.join(answer.split())!r} to: {line}")
        self.busy = _BUSY in answer


class ReloadFailed(Exception):
    """HAProxy goes on with its former configuration; the message says why, in one line."""


def add(service: str, server: str, arguments: str) -> str:
    """The command that adds a server, in maintenance; `arguments` as in its line of the file."""
    if _ARGUMENTS.fullmatch(arguments) is None:
        raise ValueError(f"not arguments of a server: {arguments!r}")
    return f"add server {_target(service, server)} {arguments}"


def admit(service: str, server: str, *, healthy: bool) -> str:
    """The commands that give a server traffic: at once, or once HAProxy's own checks say so."""
    target = _target(service, server)
    health = "up" if healthy else "down"
    return f"enable server {target}; set server {target} health {health}; enable health {target}"


def demote(service: str, server: str) -> str:
    """The command that takes a server's traffic until HAProxy's own checks find it healthy."""
    return f"set server {_target(service, server)} health down"


def disable(service: str, server: str) -> str:
    """The command that puts a server into maintenance."""
    return f"set server {_target(service, server)} state maint"


def drain(service: str, server: str) -> str:
    """The command after which a server gets no new sessions."""
    return f"set server {_target(service, server)} state drain"


def undrain(service: str, server: str) -> str:
    """The command that takes a drain back."""
    return f"set server {_target(service, server)} state ready"


def remove(service: str, server: str, version: tuple[int, int], *, sessions: bool) -> str:
    """The commands that delete a server; with `sessions` they end those that it has.

    `execute` raises `CommandRefused`, which is `busy` until the last connection is gone: HAProxy
    2.6 says so at once, later ones wait for a moment.
    """
    target = _target(service, server)
    # HAProxy 2.6 closes idle connections only of a server that is up when it gets its maintenance.
    wait = f"wait 100ms srv-removable {target}; " if version >= (3, 0) else ""
    raised = "" if wait else f"set server {target} state drain; set server {target} health up; "
    shutdown = f"shutdown sessions server {target}; " if sessions else ""
    return f"{raised}set server {target} state maint; {shutdown}{wait}del server {target}"


def set_weight(service: str, server: str, weight: int) -> str:
    """The command that sets a server's weight, 0 to 256."""
    if not 0 <= weight <= WEIGHT_MAX:
        raise ValueError(f"not a weight: {weight}")
    return f"set server {_target(service, server)} weight {weight}"


def set_max_connections(service: str, server: str, limit: int | None) -> str:
    """The command that sets a server's limit of connections; None lifts it."""
    return f"set maxconn server {_target(service, server)} {limit or 0:d}"


def _target(service: str, server: str) -> str:
    for name in (service, server):
        # `;` and newlines separate commands: nothing else keeps a name from being one.
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"not a name for HAProxy: {name!r}")
    return f"{service}/{server}"


class Runtime:
    """The stats socket. Everything raises `HAProxyUnavailable` when HAProxy does not answer."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def execute(self, line: str) -> None:
        """Run commands made by this module's functions; raises `CommandRefused`.

        Commands after a refused one are run all the same: that is HAProxy's way.
        """
        answer = self._ask(line)
        expected = [
            confirmation
            for command in line.split("; ")
            for start, confirmation in _CONFIRMATIONS.items()
            if command.startswith(start)
        ]
        if expected:
            # Warnings may come first, and the words of `wait`.
            refused = any(confirmation not in answer for confirmation in expected)
        else:
            refused = bool(answer.strip())
        if refused:
            raise CommandRefused(line, answer)

    def version(self) -> tuple[int, int]:
        """HAProxy's major and minor version."""
        answer = self._ask("show version")
        match = re.match(r"([0-9]+)\.([0-9]+)", answer)
        if match is None:
            raise HAProxyUnavailable(f"{self._path}: not HAProxy's version: {answer[:80]!r}")
        return int(match[1]), int(match[2])

    def process(self) -> int:
        """The process id of the worker that answers."""
        match = re.search(r"^Pid: ([0-9]+)$", self._ask("show info"), re.MULTILINE)
        if match is None:
            raise HAProxyUnavailable(f"{self._path}: HAProxy does not say its process id")
        return int(match[1])

    def services(self, names: Collection[str] | None = None) -> dict[str, LiveService]:
        """The proxies that run: all whose name a service could have, or those of `names`."""
        servers: dict[str, list[LiveServer]] = {}
        if names is None:
            known = filter(_SERVICE.fullmatch, self._ask("show backend").splitlines())
            servers = {name: [] for name in known}
            places = [("", "-1")]
        else:
            places = [(f" {name}", name) for name in sorted(names)]
        for suffix, proxy in places:
            state = self._ask(f"show servers state{suffix}")
            if state.startswith(_NO_BACKEND):
                continue
            if names is not None:
                servers[proxy] = []
            stat = self._ask(f"show stat {proxy} 4 -1")
            for service, server in self._servers(state, stat):
                if service in servers:
                    servers[service].append(server)
        fingerprints = self._variables([variable_name(name) for name in sorted(servers)])
        return {
            name: LiveService(name, fingerprints.get(variable_name(name)), tuple(found))
            for name, found in sorted(servers.items())
        }

    def _servers(self, state: str, stat: str) -> Iterator[tuple[str, LiveServer]]:
        lines = state.splitlines()
        if len(lines) < 2 or lines[0] != "1":
            raise HAProxyUnavailable(f"{self._path}: not the state of servers: {lines[:1]}")
        try:
            rows = {(row[0], row[1]): row for row in _table(stat.splitlines(), ",", _STAT)}
            for fields in _table(lines[1:], " ", _STATE):
                row = rows.get((fields[0], fields[1]))
                # A server in one list only came or went between the two commands.
                if row is not None:
                    yield fields[0], _live(fields, row)
        except (IndexError, ValueError) as error:
            # The worker ended amid its answer.
            raise HAProxyUnavailable(f"{self._path}: HAProxy's answer is cut off") from error

    def _variables(self, names: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(names), _VARIABLES_A_LINE):
            part = names[start : start + _VARIABLES_A_LINE]
            answer = self._ask("; ".join(f"get var {name}" for name in part))
            found.update((m[1], m[2]) for m in map(_VARIABLE.fullmatch, answer.splitlines()) if m)
        return found

    def _ask(self, line: str) -> str:
        return _exchange(self._path, line, self._timeout_s, half_close=False)


def _table(lines: list[str], separator: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The columns of these names. No value before the last of them is quoted."""
    header = lines[0].removeprefix("# ").split(separator)
    places = [header.index(column) for column in columns]
    pick, splits = operator.itemgetter(*places), max(places) + 1
    for line in filter(None, lines[1:]):
        yield pick(line.split(separator, splits))


def _live(fields: tuple[str, ...], row: tuple[str, ...]) -> LiveServer:
    _, name, address, port, weight, operational, administrative, check = fields
    _, _, sessions, limit, backup = row
    admin = int(administrative)
    return LiveServer(
        name=name,
        address=address,
        port=int(port),
        weight=int(weight),
        backup=backup == "1",
        max_connections=int(limit) if limit else None,
        up=int(operational) != _STOPPED,
        checked=bool(int(check) & _CHECK_ENABLED),
        maintenance=bool(admin & _MAINTENANCE),
        draining=bool(admin & _DRAIN),
        sessions=int(sessions),
    )


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
        rows = [match.groups() for match in map(_PROCESS.match, answer.splitlines()) if match]
        masters = [row for row in rows if row[1] == "master"]
        if not masters:
            raise HAProxyUnavailable(f"{self._path}: not a list of processes: {answer[:80]!r}")
        master, _, reloads, _ = masters[0]
        workers = [row for row in rows if row[1:3] == ("worker", "0")]
        worker = int(workers[0][0]) if workers else None
        young = any(kind == "worker" and age in _JUST_NOW for _, kind, _, age in rows)
        return _Processes(int(master), int(reloads), worker, young)

    def _ask(self, line: str) -> str:
        # HAProxy 2.6's master keeps the connection until its client has said everything.
        return _exchange(self._path, line, self._timeout_s, half_close=True)


def _pause(deadline: float, problem: str) -> None:
    if time.monotonic() >= deadline:
        raise HAProxyUnavailable(f"HAProxy was not reloaded in time: {problem}")
    time.sleep(0.01)


def _alerts(log: str) -> str:
    alerts = re.findall(r"^\[ALERT\] +\([0-9]+\) : (.+)$", log, re.MULTILINE)
    return "; ".join(alerts)


def _exchange(path: str, line: str, timeout_s: float, *, half_close: bool) -> str:
    deadline = time.monotonic() + timeout_s
    answer = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            connection.sendall(line.encode("ascii") + b"\n")
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                answer += piece
                connection.settimeout(max(0.001, deadline - time.monotonic()))
    except PermissionError as error:
        raise HAProxyUnavailable(
            f"{path}: permission denied; run as the user that owns HAProxy's sockets"
        ) from error
    except TimeoutError as error:
        raise HAProxyUnavailable(
            f"{path}: HAProxy does not answer within {timeout_s:g} s"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise HAProxyUnavailable(f"{path}: {reason}; is HAProxy running?") from error
    if not answer:
        # Even where there is nothing to say HAProxy sends a newline, unless it ends just now.
        raise HAProxyUnavailable(f"{path}: HAProxy closed the connection without an answer")
    return answer.decode("utf-8", "replace")
