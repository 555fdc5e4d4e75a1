"""Redis's protocol (RESP2): a command as bytes, and an answer from bytes, within bounds. Pure.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

# `CONFIG GET *` answers with some 10 kB, INFO of a server with many commands with 20 kB.
ANSWER_BYTES: Final = 1_048_576
_DEPTH: Final = 8
_NUMBER_BYTES: Final = 20


@dataclass(frozen=True)
class Complaint:
    """An error that the server answers with, such as `WRONGPASS invalid username-password pair`."""

    text: str


Answer: TypeAlias = "str | int | Complaint | list[Answer] | None"


class MalformedError(ValueError):
    """What came is no answer, or a larger one than any that is asked for."""


class _IncompleteError(Exception):
    pass


def command(words: Sequence[str]) -> bytes:
    """The bytes that say these words."""
    pieces = [word.encode() for word in words]
    body = b"".join(b"$%d\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"*%d\r\n%s" % (len(pieces), body)


def parse(data: bytes) -> tuple[Answer, int] | None:
    """The first answer and how many bytes it takes; None while it is not whole.

    Raises `MalformedError` as soon as nothing that follows could make it an answer within bounds.
    """
    try:
        return _parse(data, 0, _DEPTH)
    except _IncompleteError:
        if len(data) > ANSWER_BYTES:
            raise MalformedError("an answer of more than 1 MiB") from None
        return None


def _parse(data: bytes, start: int, depth: int) -> tuple[Answer, int]:
    line, end = _line(data, start)
    kind, rest = line[:1], line[1:]
    if kind == b"+":
        return _text(rest), end
    if kind == b"-":
        return Complaint(_text(rest)), end
    if kind == b":":
        return _number(rest), end
    if kind == b"$":
        return _bulk(data, end, _number(rest))
    if kind == b"*":
        return _array(data, end, _number(rest), depth)
    raise MalformedError("something that is no answer of Redis's")


def _line(data: bytes, start: int) -> tuple[bytes, int]:
    end = data.find(b"\r\n", start)
    if end < 0:
        # Whatever begins with another byte may never end its line.
        if data[start : start + 1] not in (b"", b"+", b"-", b":", b"$", b"*"):
            raise MalformedError("something that is no answer of Redis's")
        raise _IncompleteError
    return data[start:end], end + 2


def _bulk(data: bytes, start: int, length: int) -> tuple[Answer, int]:
    if length == -1:
        return None, start
    if not 0 <= length <= ANSWER_BYTES:
        raise MalformedError("a string of a length that no answer has")
    end = start + length
    if len(data) < end + 2:
        raise _IncompleteError
    if data[end : end + 2] != b"\r\n":
        raise MalformedError("a string that does not end where it says")
    return _text(data[start:end]), end + 2


def _array(data: bytes, start: int, length: int, depth: int) -> tuple[Answer, int]:
    if length == -1:
        return None, start
    if not 0 <= length <= ANSWER_BYTES or depth == 0:
        raise MalformedError("a list of a length or depth that no answer has")
    items: list[Answer] = []
    for _ in range(length):
        item, start = _parse(data, start, depth - 1)
        items.append(item)
    return items, start


def _number(digits: bytes) -> int:
    if len(digits) > _NUMBER_BYTES or not digits.removeprefix(b"-").isdigit():
        raise MalformedError("a number that is none")
    return int(digits)


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
