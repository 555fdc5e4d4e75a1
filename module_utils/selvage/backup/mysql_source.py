"""What is taken of a MySQL member: its data, and its binary logs. Runs as the server's own user."""

from __future__ import annotations

import re
import tarfile
import tempfile
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from ..fields import Invalid
from ..mysql import acting, gtid, session
from ..mysql.session import Session, SqlError
from . import dump, statements
from .dump import FailedError
from .settings import MySQL

# For one answer.
_TIMEOUT_S: Final = 30
# A replica that is further behind than this is not taken from.
_LAG_S: Final = 300
_LOG: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}\.[0-9]{6,10}")
_POSITION: Final = re.compile(r"GTID of the last change '([0-9,-]*)'")


@dataclass(frozen=True)
class Log:
    """A binary log, and what the server had before it."""

    name: str
    start: str


def look(member: MySQL) -> dict[str, Any]:
    """What the server is, with the `cluster` that its data are of."""
    try:
        with _connected(member) as own:
            return _look(own)
    except (SqlError, Invalid, KeyError) as error:
        return {"role": "replica", "position": 0, "version": "", "problem": f"mariadbd: {error}"}


def _look(own: Session) -> dict[str, Any]:
    replication = acting.status(own)
    named = own.rows("SELECT name FROM selvage.cluster")
    numbers = gtid.mariadb(
        str(own.value("@@GLOBAL.gtid_binlog_state")), str(own.value("@@GLOBAL.gtid_slave_pos"))
    ).numbers()
    problem = None
    if replication is None:
        if own.value("@@GLOBAL.read_only"):
            problem = "is read-only and replicates from nobody"
    elif not replication.runs:
        problem = "does not replicate"
    elif replication.lag_s is None or replication.lag_s > _LAG_S:
        problem = f"is behind its primary, by {replication.lag_s or 'an unknown number of'} s"
    return {
        "role": "primary" if replication is None else "replica",
        "position": sum(numbers.values()),
        "version": str(own.value("VERSION()")),
        "cluster": str(named[0]["name"]) if named else "",
        "problem": problem,
    }


def data(member: MySQL, out: IO[bytes], details: dict[str, Any]) -> None:
    """All data as of one moment: the server's files, or statements."""
    if member.logical:
        _statements(member, out, details)
    else:
        _files(member, out, details)


def _statements(member: MySQL, out: IO[bytes], details: dict[str, Any]) -> None:
    """A dump, which names its position after all that a client wrote."""
    tail = b""
    words = [f"{member.programs}/stream-dump", str(member.socket), str(member.options)]
    for piece in dump.said_by(words, {}):
        tail = (tail + piece)[-statements.TAIL :]
        out.write(piece)
    position = statements.position(tail)
    if position is None:
        raise FailedError("mariadb-dump tells no position: the server writes no binary log")
    details["position"] = position


def _files(member: MySQL, out: IO[bytes], details: dict[str, Any]) -> None:
    """A copy as `mariadb-backup` streams it.

    Replication goes on meanwhile. So the position that is told may lack the last transactions in
    it; whoever restores reads it from the data.
    """
    with tempfile.TemporaryDirectory() as work:
        program = f"{member.programs}/stream-data"
        for piece in dump.said_by([program, str(member.socket), str(member.options), work], {}):
            out.write(piece)
        (notes,) = Path(work).glob("*_info")
        position = _POSITION.search(notes.read_text(errors="replace"))
        if position is None:
            raise FailedError("mariadb-backup tells no position: the server writes no binary log")
        details["position"] = position[1]


def logs(member: MySQL, since: str, out: IO[bytes], details: dict[str, Any]) -> None:
    """The binary logs after a position, as a tar of whole files.

    The one that is written to is ended first, if it holds anything.
    """
    known = gtid.mariadb(since)
    with ExitStack() as stack:
        with _connected(member) as own:
            names = _names(own)
            state = gtid.mariadb(str(own.value("@@GLOBAL.gtid_binlog_state")))
            if gtid.mariadb(_log(own, names[-1]).start) != state:
                own.rows("FLUSH LOCAL BINARY LOGS")
                names = _names(own)
            folder = Path(str(own.value("@@GLOBAL.log_bin_basename"))).parent
            found = _after(own, names, known)
        *whole, current = found
        details["since"], details["position"] = found[0].start, current.start
        # The server removes old ones, and what is open stays.
        files = [stack.enter_context((folder / log.name).open("rb")) for log in whole]
        with tarfile.open(fileobj=out, mode="w|") as archive:
            for log, file in zip(whole, files, strict=True):
                size = file.seek(0, 2)
                file.seek(0)
                dump.add(archive, log.name, file, size)


def _names(own: Session) -> list[str]:
    names = [str(row["Log_name"]) for row in own.rows("SHOW BINARY LOGS")]
    if not names or not all(_LOG.fullmatch(name) for name in names):
        raise FailedError("the server has no binary logs, or under names that are none")
    return names


def _after(own: Session, names: list[str], known: gtid.MariaHistory) -> list[Log]:
    """From the one that goes on at what is known, or from the first one that there is."""
    found: list[Log] = []
    for name in reversed(names):
        found.insert(0, _log(own, name))
        if known.reaches(gtid.mariadb(found[0].start)):
            break
    return found


def _log(own: Session, name: str) -> Log:
    """A log begins with what was there before it."""
    for row in own.rows(f"SHOW BINLOG EVENTS IN '{name}' LIMIT 5"):
        if row["Event_type"] == "Gtid_list":
            return Log(name, re.sub(r"[\[\]\s]", "", row["Info"]))
    raise FailedError(f"the binary log {name} does not say where it begins")


def _connected(member: MySQL) -> AbstractContextManager[Session]:
    return session.by_file(str(member.socket), str(member.options), _TIMEOUT_S)
