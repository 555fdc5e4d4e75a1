"""Reconciliations that kill themselves: run as `python3 mortal.py CONFIG`.

Each number N on standard input is one run, in a child that dies by SIGKILL at the N-th point where
a kill makes a difference: before a file is opened for writing, renamed or removed, before a program
is run, and right after HAProxy was told to do something. Per run one line comes back: the point, or
`done` and all points that it passed, in JSON, when there were fewer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, ClassVar

from selvage.reconciler import reconcile, settings
from selvage.reconciler.passes import Limits


class Life:
    """How many points are left, and where to tell of the last one."""

    left = sys.maxsize
    passed: ClassVar[list[str]] = []

    @classmethod
    def point(cls, what: str) -> None:
        cls.passed.append(what)
        cls.left -= 1
        if cls.left < 0:
            os.write(1, f"{what}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("os.rename", "os.remove", "subprocess.Popen"):
        Life.point(f"{event} {arguments[0]}")
    elif event == "open" and int(arguments[2]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        Life.point(f"open {arguments[0]}")


def sendall(self: socket.socket, data: bytes) -> None:
    _sendall(self, data)
    if self.family == socket.AF_UNIX and not data.startswith((b"show", b"get")):
        Life.point(f"sent {data!r}")


_sendall = socket.socket.sendall
socket.socket.sendall = sendall
sys.addaudithook(audit)
# Who looks on a busy machine late has to find the same as who looks at once.
LIMITS = Limits(probe_s=60.0)
for line in sys.stdin:
    child = os.fork()
    if not child:
        chosen = settings.load(Path(sys.argv[1]))
        Life.left, Life.passed[:] = int(line), []
        result = reconcile.reconcile(chosen, limits=LIMITS)
        Life.left = sys.maxsize
        if result.problems:
            os.write(1, f"{result.problems}\n".encode())
        else:
            os.write(1, f"done {json.dumps(Life.passed)}\n".encode())
        os._exit(0)
    os.waitpid(child, 0)
