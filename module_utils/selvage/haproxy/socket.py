"""One question to one of HAProxy's sockets, and its whole answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# 10,000 servers take some 4 MB.
_ANSWER_BYTES: Final = 32 * 2**20


class HAProxyUnavailable(Exception):
    """HAProxy does not answer; the message is one line for the operator."""


class Question:
    """One line of commands that was sent, and whose answer is still to be read.

    With `half_close` the other side sees that nothing more will be said. Everything raises
    `HAProxyUnavailable`.
    """

    def __init__(self, path: str, line: str, timeout_s: float, *, half_close: bool) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self.asked_at = time.monotonic()
        data = line.encode("ascii") + b"\n"
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._explaining():
            self._connection.settimeout(timeout_s)
            self._connection.connect(path)
            self._connection.sendall(data)
            if half_close:
                self._connection.shutdown(socket.SHUT_WR)

    def answer(self) -> str:
        """The whole answer; the connection is closed then."""
        answer = bytearray()
        with self._explaining(), self._connection:
            while piece := self._connection.recv(65_536):
                answer += piece
                if len(answer) > _ANSWER_BYTES:
                    raise HAProxyUnavailable(
                        f"{self._path}: HAProxy's answer is longer than {_ANSWER_BYTES} bytes"
                    )
                left = self.asked_at + self._timeout_s - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._connection.settimeout(left)
        if not answer:
            # Even where there is nothing to say HAProxy sends a newline, unless it ends just now.
            raise HAProxyUnavailable(
                f"{self._path}: HAProxy closed the connection without an answer"
            )
        return answer.decode("utf-8", "replace")

    def close(self) -> None:
        """Do without the answer."""
        self._connection.close()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            if isinstance(error, PermissionError):
                reason = "permission denied; run as the user that owns HAProxy's sockets"
            elif isinstance(error, TimeoutError):
                reason = f"HAProxy does not answer within {self._timeout_s:g} s"
            else:
                reason = f"{error.strerror or error}; is HAProxy running?"
            raise HAProxyUnavailable(f"{self._path}: {reason}") from error


def exchange(path: str, line: str, timeout_s: float, *, half_close: bool) -> str:
    """Ask, and read the answer; raises `HAProxyUnavailable`."""
    return Question(path, line, timeout_s, half_close=half_close).answer()
