"""A connection to another program under one deadline, with bounds on what it may say."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from . import tls
from .tcp import connect

_T = TypeVar("_T")
_PIECE: Final = 65_536
HEAD_BYTES: Final = 4096
# HAProxy's buffer, tune.bufsize.
_BUFFER_BYTES: Final = 16_384
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")


class Conversation:
    """Everything raises OSError, TimeoutError included."""

    def __init__(self, link: socket.socket, deadline: float) -> None:
        self._link = link
        self._deadline = deadline
        self._received = b""

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def encrypt(self, ca: Path) -> Conversation:
        """Speak TLS from here on, with a server whose certificate is of this CA.

        Which name that has does not count: HAProxy's checks know addresses only, and cannot
        compare those.
        """
        try:
            context = tls.context(ca)
            context.check_hostname = False
            self._link.settimeout(self._left())
            self._link = context.wrap_socket(self._link)
        except BaseException:
            self._link.close()
            raise
        return self

    def send(self, data: bytes) -> None:
        """Say it all."""
        self._link.settimeout(self._left())
        self._link.sendall(data)

    def line(self) -> bytes:
        """The first line without its newline, at most `HEAD_BYTES` long."""
        while b"\n" not in self._received:
            if len(self._received) >= HEAD_BYTES:
                raise OSError("the first line does not end")
            self._receive(HEAD_BYTES)
        return self._received.split(b"\n", 1)[0]

    def header(self) -> None:
        """Wait for the blank line, without which HAProxy takes no answer for healthy."""
        while _BLANK_LINE.search(self._received) is None:
            if len(self._received) >= _BUFFER_BYTES:
                raise OSError("the header does not end")
            self._receive(_BUFFER_BYTES)

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._received) < size:
            self._receive(size - len(self._received))
        data, self._received = self._received[:size], self._received[size:]
        return data

    def until(self, pattern: bytes) -> bytes:
        """What comes until it has the pattern, or the other side hangs up; HAProxy's buffer."""
        while re.search(pattern, self._received) is None and len(self._received) < _BUFFER_BYTES:
            piece = self._piece(_BUFFER_BYTES - len(self._received))
            if not piece and not self._received:
                raise ConnectionResetError("closed without an answer")
            if not piece:
                break
            self._received += piece
        received, self._received = self._received, b""
        return received

    def parsed(self, parse: Callable[[bytes], tuple[_T, int] | None]) -> _T:
        """The next answer: `parse` gives it with its length, or None while it is not whole."""
        while (found := parse(self._received)) is None:
            self._receive(_PIECE)
        self._received = self._received[found[1] :]
        return found[0]

    def _receive(self, size: int) -> None:
        data = self._piece(size)
        if not data:
            raise ConnectionResetError("closed without a complete answer")
        self._received += data

    def _piece(self, size: int) -> bytes:
        self._link.settimeout(self._left())
        return self._link.recv(size)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def over_tcp(
    address: str, port: int, timeout_s: float, ca: Path | str | None = None
) -> Conversation:
    """With whoever listens there; with `ca` over TLS."""
    deadline = time.monotonic() + timeout_s
    conversation = Conversation(connect(address, port, timeout_s), deadline)
    return conversation if ca is None else conversation.encrypt(Path(ca))


def over_socket(path: str, timeout_s: float) -> Conversation:
    """With whoever listens at this socket of the host's own."""
    deadline = time.monotonic() + timeout_s
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(timeout_s)
        link.connect(path)
    except BaseException:
        link.close()
        raise
    return Conversation(link, deadline)
