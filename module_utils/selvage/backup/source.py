"""The service's side of a backup: systemd starts it for each connection to its socket, as its user.

    python3 -m selvage.backup.source SERVICE

One line comes in, `look` or `send`, of logs with the position after which; frames go out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

from .. import fields
from ..redis import facts
from ..redis.client import Access, Client, FailedError
from ..registry import ensemble
from . import dump, frames, mysql_source, settings
from .manifest import LOGS
from .settings import Redis, Source, ZooKeeper

# For one answer of the service.
_TIMEOUT_S: Final = 10
_REQUEST: Final = 4_096
Dump = Callable[[IO[bytes], dict[str, Any]], None]


class AwayError(Exception):
    """The service cannot be taken from; the message is one line for the operator."""


def main(arguments: list[str], path: Path = settings.SOURCE) -> int:
    """Answer one request; a failure is told to whoever asked, and to the journal."""
    verb, _, since = (
        sys.stdin.buffer.readline(_REQUEST).decode(errors="replace").strip().partition(" ")
    )
    out = sys.stdout.buffer
    try:
        service = arguments[0]
        source = fields.read(path, settings.parse)
        if verb == "look":
            out.write(frames.end(look(service, source)))
        elif verb == "send":
            send(service, source, out, since)
        else:
            raise AwayError("expected look or send")
    except BrokenPipeError:
        raise
    except Exception as error:
        reason = frames.printable(str(error)) or type(error).__name__
        print(reason, file=sys.stderr)
        out.write(frames.failure(reason))
        return 1
    finally:
        out.flush()
    return 0


def look(service: str, source: Source) -> dict[str, Any]:
    """What the service is: `role`, a comparable `position`, `version`, and a `problem` or none."""
    if service == "zookeeper" and source.zookeeper is not None:
        return _zookeeper(source.zookeeper)
    if service == "redis" and source.redis is not None:
        return _redis(source.redis)
    if service in ("mysql", LOGS) and source.mysql is not None:
        return mysql_source.look(source.mysql)
    raise AwayError(f"{service} is not backed up from this host")


def _zookeeper(member: ZooKeeper) -> dict[str, Any]:
    own = ensemble.Member(1, "this member", member.address)
    (status,) = ensemble.look([own], member.port, _TIMEOUT_S)
    if status.mode is None:
        return {"role": "replica", "position": 0, "version": "", "problem": status.problem}
    return {
        "role": "primary" if status.mode in ("leader", "standalone") else "replica",
        "position": int(status.zxid or "0", 16),
        "version": "",
        "problem": None,
    }


def _redis(member: Redis) -> dict[str, Any]:
    # Its user needs no password, and sees no key.
    access = Access("check", ("none",), member.ca, _TIMEOUT_S)
    try:
        with Client(member.address, member.port, access) as client:
            server = facts.server(client.text("INFO"))
    except (FailedError, facts.OddError) as error:
        return {"role": "replica", "position": 0, "version": "", "problem": f"redis-server {error}"}
    problem = "still loads its data" if server.loading else None
    if not server.in_sync:
        problem = "is not in sync with its primary"
    return {
        "role": "primary" if server.follows is None else "replica",
        "position": server.offset,
        "version": server.version,
        "problem": problem,
    }


def send(service: str, source: Source, out: IO[bytes], since: str = "") -> None:
    """The backup, as frames; encrypted where there is somebody to encrypt it for."""
    details = look(service, source)
    if details["problem"] is not None:
        raise AwayError(str(details["problem"]))
    details |= {"position": f"{details['position']}", "encrypted": bool(source.recipients)}
    with ExitStack() as stack:
        stream = Stream(_dump(service, source, since), details, source.recipients, stack)
        for frame in frames.pack(stream.pieces(), lambda: details):
            out.write(frame)


def _dump(service: str, source: Source, since: str) -> Dump:
    if service == "zookeeper" and source.zookeeper is not None:
        member = source.zookeeper
        return lambda out, details: dump.zookeeper(member, out, details)
    if service == "redis" and source.redis is not None:
        server = source.redis
        return lambda out, _: dump.redis(server, out)
    if service == "mysql" and source.mysql is not None:
        database = source.mysql
        return lambda out, details: mysql_source.data(database, out, details)
    if service == LOGS and source.mysql is not None:
        logged = source.mysql
        return lambda out, details: mysql_source.logs(logged, since, out, details)
    raise AwayError(f"{service} is not backed up from this host")


class Stream:
    """What a dump writes in a thread, through age or not, read from a pipe."""

    def __init__(
        self, dump: Dump, details: dict[str, Any], recipients: tuple[str, ...], stack: ExitStack
    ) -> None:
        self._dump, self._details = dump, details
        self._problem: Exception | None = None
        read, write = os.pipe()
        self._out = stack.enter_context(os.fdopen(read, "rb"))
        self._into = stack.enter_context(os.fdopen(write, "wb"))
        self._cipher: subprocess.Popen[bytes] | None = None
        if recipients:
            words = ["age", "--encrypt"]
            for key in recipients:
                words += ["--recipient", key]
            self._cipher = subprocess.Popen(
                words, stdin=self._out, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )

    def pieces(self) -> Iterator[bytes]:
        """The pieces; raises what the dump raised, after the last one."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        if self._cipher is None:
            yield from dump.pieces(self._out)
        else:
            # It alone reads the pipe now, and so hears when that ends.
            self._out.close()
            yield from self._encrypted(self._cipher)
        thread.join()
        if self._problem is not None:
            raise self._problem

    def _encrypted(self, cipher: subprocess.Popen[bytes]) -> Iterator[bytes]:
        if cipher.stdout is None or cipher.stderr is None:
            raise AwayError("age has no output")
        yield from dump.pieces(cipher.stdout)
        words = frames.printable(cipher.stderr.read().decode(errors="replace"))
        if cipher.wait():
            raise AwayError(f"age failed: {words}")

    def _run(self) -> None:
        try:
            self._dump(self._into, self._details)
        except Exception as error:
            self._problem = error
        finally:
            self._into.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
