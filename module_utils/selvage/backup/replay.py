"""A MySQL server of its own on prepared data: it replays binary logs, and begins a new history.

No client can come to it. It listens on a socket in a folder for its own user, without accounts.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from ..formats.grammar import shown
from ..mysql import gtid, session
from ..mysql.session import Session, SqlError
from .place import RefusedError

_LOG: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}\.[0-9]{6,10}")
_POLL_S: Final = 0.1
# One row may be as large.
_PACKET: Final = "--max-allowed-packet=1G"
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True)
class Log:
    """An archive of binary logs, and the position that its source had at their end."""

    archive: Path
    position: str


@dataclass(frozen=True)
class Goal:
    """Archives of logs, in order, and where they are left: at a time in UTC, or after a GTID."""

    logs: tuple[Log, ...]
    until: str
    until_gtid: str


def bring(data: Path, told: str, goal: Goal, dump: Path | None = None) -> str:
    """Replay, and make the data those of a primary of a new history; the position that it has.

    A logical backup, `dump`, is read in first. `told` is the position that the backup names. The
    data themselves may have more: a replica commits while it is copied, and notes its place with
    each transaction. Raises `RefusedError`.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, _server(data, Path(folder)) as own:
        try:
            if dump is not None:
                _load(dump, Path(folder) / "socket")
            here = gtid.mariadb(told, str(own.value("@@GLOBAL.gtid_slave_pos")))
            own.rows("RESET MASTER")
            own.rows("SET GLOBAL gtid_binlog_state = %s", here.position())
            own.rows("SET GLOBAL gtid_strict_mode = ON")
            if goal.logs:
                _replay(here, goal, data.parent / "logs", Path(folder) / "socket")
            return _begun(own)
        except SqlError as error:
            raise RefusedError(f"the restored data: {error}") from None


def _begun(own: Session) -> str:
    """A history of its own, without logs of the former one; its server then ends."""
    end = gtid.mariadb(str(own.value("@@GLOBAL.gtid_binlog_state"))).position()
    own.rows("SET SESSION sql_log_bin = 0")
    # Who still has other data is known by that, and is none of this cluster.
    own.rows("UPDATE selvage.cluster SET name = UUID()")
    own.rows("RESET MASTER")
    own.rows("SET GLOBAL gtid_binlog_state = %s", end)
    # Of its log a server takes its own transactions alone for where it stands (gtid_current_pos),
    # and lets replicas be seeded there: the last one may be of another server.
    own.rows("SET GLOBAL gtid_slave_pos = %s", end)
    own.rows("SHUTDOWN")
    return end


@contextmanager
def _server(data: Path, folder: Path) -> Iterator[Session]:
    """A server with these data; the caller shuts it down, and else it is killed."""
    with (folder / "said").open("w+b") as said:
        process = subprocess.Popen(
            [
                # What InnoDB's files are like, as mariadb-backup has noted it.
                *("mariadbd", f"--defaults-file={data}/backup-my.cnf"),
                *(f"--user={pwd.getpwuid(os.geteuid()).pw_name}", f"--datadir={data}"),
                *(f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--skip-networking"),
                *("--skip-grant-tables", "--skip-slave-start", "--log-bin=binlog", "--server-id=1"),
                *("--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2", _PACKET),
            ],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=_ENVIRONMENT,
        )
        try:
            _until_it_answers(process, folder / "socket", said)
            with session.local(f"{folder}/socket", 86_400) as own:
                yield own
            process.wait()
        finally:
            process.kill()
            process.wait()


def _until_it_answers(process: subprocess.Popen[bytes], socket: Path, said: IO[bytes]) -> None:
    while process.poll() is None:
        with suppress(SqlError), session.local(str(socket), 10):
            return
        time.sleep(_POLL_S)
    said.seek(max(said.seek(0, os.SEEK_END) - 2_000, 0))
    words = [line for line in said.read().decode(errors="replace").splitlines() if "ERROR" in line]
    raise RefusedError(f"MariaDB does not start with the backup: {shown(' '.join(words)[-600:])}")


def _extract(archive: Path, folder: Path) -> list[Path]:
    """The logs in an archive, in the order in which they were written."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        with tarfile.open(archive, "r:") as tar:
            for entry in tar:
                source = tar.extractfile(entry) if entry.isfile() else None
                if source is None or _LOG.fullmatch(entry.name) is None:
                    raise RefusedError(f"{entry.name!r:.80} is no binary log")
                with (folder / entry.name).open("xb") as file:
                    while piece := source.read(1 << 20):
                        file.write(piece)
    except tarfile.TarError as error:
        raise RefusedError(f"{archive.name} is no archive of binary logs: {error}") from None
    return sorted(folder.iterdir())


def _load(dump: Path, socket: Path) -> None:
    """Read a dump in; its statements are in no log."""
    reader = [*_writer(socket), "--init-command=SET SESSION sql_log_bin = 0"]
    with dump.open("rb") as statements, tempfile.TemporaryFile() as said:
        done = subprocess.run(
            reader, stdin=statements, stdout=said, stderr=said, env=_ENVIRONMENT, check=False
        )
        if done.returncode:
            raise RefusedError(f"the dump cannot be read in: {_last(said)}")


def _writer(socket: Path) -> list[str]:
    return ["mariadb", "--no-defaults", f"--socket={socket}", "--binary-mode", _PACKET]


def _replay(here: gtid.MariaHistory, goal: Goal, work: Path, socket: Path) -> None:
    """The logs' transactions after the position; refused at the first one that fails."""
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            _writer(socket), stdin=subprocess.PIPE, stdout=said, stderr=said, env=_ENVIRONMENT
        ) as client:
            into = cast(IO[bytes], client.stdin)
            # Without accounts the server refuses statements about them; this session may do all.
            into.write(b"FLUSH LOCAL PRIVILEGES;\n")
            into.flush()
            for log in goal.logs:
                _read(log, here, goal, work, into)
                here = here | gtid.mariadb(log.position)
            with suppress(BrokenPipeError):
                into.close()
            client.wait()
        if client.returncode:
            raise RefusedError(f"the logs cannot be replayed: {_last(said)}")


def _read(log: Log, here: gtid.MariaHistory, goal: Goal, work: Path, into: IO[bytes]) -> None:
    """Write an archive as statements; whoever reads them and has ended says why itself."""
    files = _extract(log.archive, work)
    reader = ["mariadb-binlog", "--no-defaults", f"--start-position={here.position()}"]
    if goal.until:
        reader.append(f"--stop-datetime={goal.until}")
    if goal.until_gtid:
        reader.append(f"--stop-position={goal.until_gtid}")
    with tempfile.TemporaryFile() as said:
        read = subprocess.run(
            [*reader, *map(str, files)], stdout=into, stderr=said, env=_ENVIRONMENT, check=False
        )
        if read.returncode > 0:
            raise RefusedError(f"{log.archive.name} cannot be replayed: {_last(said)}")


def _last(said: IO[bytes]) -> str:
    said.seek(max(said.seek(0, os.SEEK_END) - 600, 0))
    return shown(said.read().decode(errors="replace"))
