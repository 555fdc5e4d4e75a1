"""HAProxy's two sockets: the Runtime API of the serving worker, and the master's CLI.

One connection carries one line of commands, joined with `;`, and is read to its end: some replies
of HAProxy 2.6 lack the blank line that should close them, so replies are matched line by line.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from ..catalogue import SERVICE_NAME
from .commands import _CONFIRMATIONS, CommandRefused
from .sections import variable_name
from .servers import LiveServer, LiveService
from .socket import HAProxyUnavailable, exchange

_SERVICE: Final = re.compile(SERVICE_NAME)
_VARIABLE: Final = re.compile(r"(\S+): type=str value=<(.*)>")

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
        return exchange(self._path, line, self._timeout_s, half_close=False)


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
