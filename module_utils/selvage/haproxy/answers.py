"""What HAProxy says about itself, read from whole answers. Pure.

`show stat` has words of instances in it: what they answered to HAProxy's checks. They may hold
newlines, with HAProxy 2.6, and whatever else Unicode takes for the end of a line. HAProxy quotes
them then (RFC 4180), and what it quotes is taken out before anything is read, but for the words of
its own about errors in a row. An instance may say these too: they count beside a status alone that
no instance can have said.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..formats.grammar import printable
from .servers import BreakerState, Fault, Frontend, LiveServer, LiveService

_QUOTED: Final = re.compile(r',"[^"]*+(?:""[^"]*+)*+"(?=,)')
_FAULTS: Final[Mapping[str, Fault]] = {
    "L4 unsuccessful connection": "connection",
    "Wrong http response": "status",
    "Invalid http response (headers)": "invalid",
    "Invalid http response": "invalid",
    "Read error (http)": "broken",
    "Read timeout (http)": "timeout",
    "Close from server (http)": "closed",
}
_ERRORS: Final = re.compile(
    r',"Detected [0-9]{1,4} consecutive errors, last one was: ([A-Za-z0-9 ()]{1,40})"'
)
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
_BREAKER: Final = (
    "pxname",
    "svname",
    "status",
    "lastchg",
    "chkdown",
    "hanafail",
    "check_status",
    "last_chk",
)
# A check that is under way is marked. Successes: management guide, `check_status`.
_BY_ERRORS: Final = "HANA"
_SUCCESSES: Final = ("L4OK", "L6OK", "L7OK", "L7OKC")
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
        # What follows the last newline is no line, and nothing in an answer that is whole.
        *self._lines, self._rest = _QUOTED.sub(_known, text).split("\n")
        self._next = 0

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
        return self._paragraph()

    def services(self, proxy: str | None) -> dict[str, LiveService] | None:
        """`show servers state`, `show stat`: proxies as they run, without their fingerprints.

        The `proxy` that was asked for, or all if that is None; None when it is not there.
        """
        states, rows = self._states(), self._stat(_STAT)
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

    def breakers(self, proxy: str) -> dict[str, BreakerState]:
        """`show stat` of one proxy's servers: what its breaker does to them."""
        breakers = {}
        for name, server, *said in self._stat(_BREAKER):
            if name != proxy:
                raise ValueError(f"not the statistics of {proxy}: {printable(name)}")
            breakers[server] = _breaker(*said)
        return breakers

    def process(self) -> Process:
        """`show info`, after which nothing comes."""
        said = dict(line.split(":", 1) for line in (self._first(), *self._paragraph()))
        version = _VERSION.fullmatch(said.get("Version", "").strip())
        if version is None or self._rest or self._next != len(self._lines):
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
        header, *lines = self._paragraph()
        rows = _table(header.removeprefix("# "), lines, " ", _STATE)
        return {(row[0], row[1]): row for row in rows}

    def _stat(self, columns: Sequence[str]) -> list[tuple[str, ...]]:
        header = self._first()
        if header == "No such proxy.":
            return []
        if not header.startswith("# "):
            raise ValueError(f"not statistics: {printable(header)}")
        return _table(header.removeprefix("# "), self._paragraph(), ",", columns)

    def _first(self) -> str:
        """The next line that is not blank: HAProxy 2.6 closes some answers with a blank line."""
        while not (line := self._line()):
            pass
        return line

    def _paragraph(self) -> list[str]:
        """The lines up to the next blank one."""
        start, end = self._next, self._lines.index("", self._next)
        self._next = end + 1
        return self._lines[start:end]

    def _line(self) -> str:
        self._next += 1
        if self._next > len(self._lines):
            raise ValueError("it is cut off")
        return self._lines[self._next - 1]

    def _expect(self, expected: str) -> None:
        line = self._first()
        if line != expected:
            raise ValueError(f"expected {expected!r}, got {printable(line)}")


def _table(
    header: str, lines: Sequence[str], separator: str, columns: Sequence[str]
) -> list[tuple[str, ...]]:
    """These columns of each line, all of which have as many as the header."""
    names = header.split(separator)
    places = [names.index(column) for column in columns]
    pick: Callable[[Sequence[str]], tuple[str, ...]] = operator.itemgetter(*places)
    separators, splits = len(names) - 1, max(places) + 1
    for line in lines:
        if line.count(separator) != separators or '"' in line:
            raise ValueError(f"not a row of {len(names)} columns: {printable(line)}")
    return [pick(line.split(separator, splits)) for line in lines]


def _known(quoted: re.Match[str]) -> str:
    words = _ERRORS.fullmatch(quoted[0])
    return f",{words[1]}" if words else ","


def _breaker(
    status: str, since: str, downs: str, opened: str, check: str, words: str
) -> BreakerState:
    down, last = status.startswith("DOWN"), check.removeprefix("* ")
    by_errors = down and last == _BY_ERRORS
    # A check's success replaces what it says of errors. What remains are counters: errors explain
    # each time that it went down.
    returning = down and last in _SUCCESSES and int(opened) >= int(downs) > 0
    return BreakerState(
        open=by_errors or returning,
        returning=returning,
        since_s=int(since or 0),
        opened=int(opened or 0),
        fault=_FAULTS.get(words) if by_errors else None,
    )


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
