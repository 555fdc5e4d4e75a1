"""What the backup host's key opens on a host: `look` and `send` of a service, and `receive` of one.

MySQL's logs are sent from a position on, which follows the service.

    python3 -m selvage.backup.door

sshd runs it as selvage-backup, whatever the other side asks for. That user reads nothing of any
service: it passes on what the service's own user sends by its socket.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import IO, Final

from . import frames
from .manifest import GTIDS, LOGS, SERVICES

SOCKETS: Final = Path("/run/selvage-backup")
# A restore makes a folder for its service in it, and removes it again: else nothing is taken.
INCOMING: Final = Path("/var/lib/selvage-backup/incoming")
_REQUEST: Final = re.compile(
    rf"(look|send|receive) ({'|'.join(SERVICES)})|(send) ({LOGS}) ({GTIDS})"
)


def main(request: str, sockets: Path = SOCKETS, incoming: Path = INCOMING) -> int:
    """Serve one request; 1 with a line on stderr when that cannot be."""
    match = _REQUEST.fullmatch(request)
    if match is None:
        print("expected look, send or receive, and a service", file=sys.stderr)
        return 1
    verb, service, since = match[1] or match[3], match[2] or match[4], match[5] or ""
    try:
        if verb == "receive":
            print(receive(incoming / service, sys.stdin.buffer))
        else:
            ask(sockets / f"{service}.sock", f"{verb} {since}".strip(), sys.stdout.buffer)
    except OSError as error:
        print(f"{verb} {service}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def ask(path: Path, request: str, out: IO[bytes]) -> None:
    """Pass on what the service answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(str(path))
        link.sendall(f"{request}\n".encode())
        with link.makefile("rb") as answer:
            shutil.copyfileobj(answer, out, frames.PIECE)
    out.flush()


def receive(folder: Path, stream: IO[bytes]) -> str:
    """Write what comes into a folder that a restore has made; its SHA-256."""
    path = folder / "data"
    path.unlink(missing_ok=True)
    digest = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o640), "wb") as file:
        while piece := stream.read(frames.PIECE):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main(os.environ.get("SSH_ORIGINAL_COMMAND", "")))
