"""One connection to Redis or Sentinel: TLS, a user, a time limit, and no secret in any message."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..fields import Invalid
from ..system import tcp, tls
from . import resp

_SHOWN: Final = 160
# Shorter words are no secrets (the role asks for longer ones), and would make holes into messages.
_SECRET: Final = 12


class FailedError(Exception):
    """No answer, or no useful one; the message is a few words for the operator."""


class AwayError(FailedError):
    """Nobody answers, or not in time: who does is another day's question."""


class RefusedError(FailedError):
    """The server's answer is an error."""


@dataclass(frozen=True)
class Access:
    """Who asks, and whom to believe: the CA that signed the servers' certificates.

    Several passwords are those of a rotation: the first one that a server takes is used.
    """

    user: str
    passwords: tuple[str, ...] = field(repr=False)
    ca: Path
    timeout_s: float = 5.0

    def context(self) -> ssl.SSLContext:
        """TLS for clients; raises `fields.Invalid` when the CA's file is unusable."""
        try:
            return tls.context(self.ca)
        except OSError as error:  # ssl.SSLError is one
            raise Invalid(f"{self.ca}: {error.strerror or error}") from error


class Client(AbstractContextManager["Client"]):
    """A connection of a user who has shown a password. Raises `FailedError` throughout."""

    def __init__(self, address: str, port: int, access: Access) -> None:
        self._timeout_s = access.timeout_s
        self._left = b""
        context = access.context()
        try:
            plain = tcp.connect(address, port, access.timeout_s)
        except OSError as error:
            raise AwayError(f"does not answer: {error.strerror or error}") from error
        try:
            self._link = context.wrap_socket(plain, server_hostname=address)
        except (OSError, ValueError) as error:
            plain.close()
            raise FailedError(f"TLS fails: {tls.reason(error)}") from error
        try:
            self._authenticate(access)
        except BaseException:
            self._link.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._link.close()

    @property
    def certificate(self) -> bytes:
        """The server's own certificate, as DER."""
        return self._link.getpeercert(binary_form=True) or b""

    def ask(self, *words: str) -> resp.Answer:
        """The answer to one command; an error among them raises `RefusedError`."""
        answer = self._exchange(words)
        if isinstance(answer, resp.Complaint):
            raise RefusedError(f"refuses {words[0]}: {without(answer.text, words)}")
        return answer

    def text(self, *words: str) -> str:
        """The answer, which is a string."""
        answer = self.ask(*words)
        if not isinstance(answer, str):
            raise FailedError(f"answers {words[0]} with something else than text")
        return answer

    def items(self, *words: str) -> list[resp.Answer]:
        """The answer, which is a list."""
        answer = self.ask(*words)
        if not isinstance(answer, list):
            raise FailedError(f"answers {words[0]} with something else than a list")
        return answer

    def _authenticate(self, access: Access) -> None:
        for password in access.passwords:
            # What the server says is not shown: it has just heard a password.
            if self._exchange(("AUTH", access.user, password)) == "OK":
                return
        raise RefusedError(f"lets {access.user} not in with any of the passwords given")

    def _exchange(self, words: Sequence[str]) -> resp.Answer:
        deadline = time.monotonic() + self._timeout_s
        try:
            self._link.settimeout(self._timeout_s)
            self._link.sendall(resp.command(words))
            while (found := resp.parse(self._left)) is None:
                if (left_s := deadline - time.monotonic()) <= 0:
                    raise TimeoutError("timed out")
                self._link.settimeout(left_s)
                piece = self._link.recv(262_144)
                if not piece:
                    raise AwayError("hangs up without an answer")
                self._left += piece
        except resp.MalformedError as error:
            raise FailedError(f"answers {error}") from error
        except OSError as error:
            raise AwayError(f"does not answer: {tls.reason(error)}") from error
        answer, size = found
        self._left = self._left[size:]
        return answer


def accepts(address: str, port: int, access: Access) -> bool:
    """Whether the server takes the user with this password; raises `FailedError` if it is away."""
    try:
        with Client(address, port, access):
            return True
    except RefusedError:
        return False


def without(text: str, words: Sequence[str]) -> str:
    """A server's own words, on one short line, and without what it was told in confidence."""
    for word in words:
        if len(word) >= _SECRET:
            text = text.replace(word, "(hidden)")
    line = "".join(character if character.isprintable() else "?" for character in text)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
