"""What HAProxy says about itself, read from whole answers. Pure.

Only a newline ends a line of HAProxy's: the words of an instance, which `show stat` quotes, may
hold whatever else Unicode takes for the end of one, and with HAProxy 2.6 newlines too.
"""

from __future__ import annotations

import csv
import io
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..formats.grammar import printable
from .servers import Frontend, LiveServer, LiveService

_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})\b.*")
_VARIABLE: Final = re.compile(r"(\S+): type=(\S+) value=<(.*)>")

# srv_admin_state and srv_check_state: HAProxy's management guide, "show servers state".
# Not 0x04, which says for good that the file had the server `disabled`.
_MAINTENANCE: Final = 0x01 | 0x02 | 0x20 | 0x40
_DRAIN: Final = 0x08 | 0x10
_CHECK_ENABLED: Final = 0x04
_STOPPED: Final = "0"
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
# The types of rows, "show stat": frontends are 0, servers 2.
_STAT: Final = ("pxname", "svname", "type", "status", "scur", "slim", "bck")
_IS_FRONTEND: Final = "0"
_IS_SERVER: Final = "2"


@dataclass(frozen=True)
class Process:
    """The worker that answers; `stopping` says that another one serves by now, or none."""

    pid: int
    version: tuple[int, int]
    stopping: bool


class Answer:
    """The answers to the commands of one line, to be read in their order.

    `process` is the last one: `show info` ends every line of questions, so that whoever has read
    it knows that nothing of the others is missing. Everything raises ValueError where the text is
    not what HAProxy says, as when it is cut off.
    """

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="\n")

    def variable(self, name: str) -> str | None:
        """`get var`: the text in a variable, None when there is none."""
        line = self._first()
        match = _VARIABLE.fullmatch(line)
        if match is not None and match[1] == name:
            return match[3] if match[2] == "str" else None
        if line != "Variable not found.":
            raise ValueError(f"not the variable {name}: {printable(line)}")
        return None

    def backends(self) -> list[str]:
        """`show backend`: the names of all proxies that have servers."""
        self._expect("# name")
        return [*self._paragraph()]

    def services(self, proxy: str | None) -> dict[str, LiveService] | None:
        """`show servers state`, `show stat`: proxies as they run, without their fingerprints.

        The `proxy` that was asked for, or all if that is None; None when it is not there.
        """
        states, rows = self._states(), [*self._stat()]
        if states is None:
            return None
        frontends: dict[str, Frontend] = {}
        servers: dict[str, list[LiveServer]] = {} if proxy is None else {proxy: []}
        for name, server, kind, status, sessions, limit, backup in rows:
            if name != proxy and proxy is not None:
                raise ValueError(f"not the statistics of {proxy}: {printable(name)}")
            found = servers.setdefault(name, [])
            if kind == _IS_FRONTEND:
                frontends[name] = _frontend(status, limit)
            # A server in one list only came or went between the two commands.
            elif kind == _IS_SERVER and (state := states.get((name, server))) is not None:
                found.append(_live(state, int(sessions), limit, backup))
        return {
            name: LiveService(name, None, tuple(found), frontends.get(name, "open"))
            for name, found in servers.items()
        }

    def process(self) -> Process:
        """`show info`, after which nothing comes."""
        said = dict(line.split(":", 1) for line in (self._first(), *self._paragraph()))
        version = _VERSION.fullmatch(said.get("Version", "").strip())
        if version is None or self._lines.read():
            raise ValueError("it does not end with what HAProxy says about its process")
        return Process(
            pid=int(said.get("Pid", "")),
            version=(int(version[1]), int(version[2])),
            stopping=said.get("Stopping", "").strip() != "0",
        )

    def _states(self) -> dict[tuple[str, str], tuple[str, ...]] | None:
        line = self._first()
        if line == "Can't find backend.":
            return None
        if line != "1":
            raise ValueError(f"not the state of servers: {printable(line)}")
        pick, width = _columns(self._line().removeprefix("# ").split(" "), _STATE)
        rows = (line.split(" ") for line in self._paragraph())
        return {(row[0], row[1]): row for row in map(pick, _whole(rows, width))}

    def _stat(self) -> Iterator[tuple[str, ...]]:
        rows = csv.reader(self._lines, strict=True)
        try:
            header = next((row for row in rows if row), [""])
            if header == ["No such proxy."]:
                return
            if not header[0].startswith("# "):
                raise ValueError(f"not statistics: {printable(header[0])}")
            header[0] = header[0].removeprefix("# ")
            pick, width = _columns(header, _STAT)
            yield from map(pick, _whole(_until_blank(rows), width))
        except csv.Error as error:
            raise ValueError(f"not statistics: {error}") from error

    def _first(self) -> str:
        """The next line that is not blank: HAProxy 2.6 closes some answers with a blank line."""
        while not (line := self._line()):
            pass
        return line

    def _paragraph(self) -> Iterator[str]:
        return iter(self._line, "")

    def _line(self) -> str:
        line = self._lines.readline()
        if not line.endswith("\n"):
            raise ValueError("it is cut off")
        return line[:-1]

    def _expect(self, expected: str) -> None:
        line = self._first()
        if line != expected:
            raise ValueError(f"expected {expected!r}, got {printable(line)}")


def _columns(
    header: Sequence[str], names: Sequence[str]
) -> tuple[Callable[[Sequence[str]], tuple[str, ...]], int]:
    """How to take the columns of these names from a row, and how many a row has."""
    return operator.itemgetter(*(header.index(name) for name in names)), len(header)


def _whole(rows: Iterator[list[str]], width: int) -> Iterator[list[str]]:
    for row in rows:
        if len(row) != width:
            raise ValueError(f"a row of {len(row)} columns instead of {width}")
        yield row


def _until_blank(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    for row in rows:
        if not row:
            return
        yield row
    raise ValueError("it is cut off")


def _frontend(status: str, limit: str) -> Frontend:
    if status == "PAUSED":
        return "disabled"
    if status == "STOP":
        return "shut down"
    return "given the limit 0" if limit == "0" else "open"


def _live(state: tuple[str, ...], sessions: int, limit: str, backup: str) -> LiveServer:
    _, name, address, port, weight, operational, administrative, check = state
    admin = int(administrative)
    return LiveServer(
        name=name,
        address=address,
        port=int(port),
        weight=int(weight),
        backup=backup == "1",
        max_connections=int(limit) if limit else None,
        up=operational != _STOPPED,
        checked=bool(int(check) & _CHECK_ENABLED),
        maintenance=bool(admin & _MAINTENANCE),
        draining=bool(admin & _DRAIN),
        sessions=sessions,
    )
