"""MySQL's protocol, as much as a check needs: one login without a password, and text results. Pure.

Who answers may be anybody: whatever does not fit raises `MalformedError`, within bounds.
Source: https://mariadb.com/kb/en/clientserver-protocol/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# A row of SHOW REPLICA STATUS has some 2 kB; with long error messages and sets of GTIDs more.
PACKET_BYTES: Final = 262_144
# It has 60 columns, and a server a few sources.
COLUMNS: Final = 200
ROWS: Final = 64
# LONG_PASSWORD, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH.
_CAPABILITIES: Final = 0x0008A201
_UTF8MB4: Final = 45
_END: Final = 0xFE
_ERROR: Final = 0xFF
_NULL: Final = 0xFB


class MalformedError(ValueError):
    """What came is nothing that a server says."""


class RefusedError(Exception):
    """What the server says is an error; the message is its own."""


def packet(number: int, body: bytes) -> bytes:
    """A packet of so many in its exchange."""
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def login(user: str, plugin: str) -> bytes:
    """The answer to a greeting, whatever that says: this user, and no password."""
    return packet(
        1,
        _CAPABILITIES.to_bytes(4, "little")
        + PACKET_BYTES.to_bytes(4, "little")
        + bytes([_UTF8MB4])
        + bytes(23)
        + user.encode()
        + b"\0\0"
        + plugin.encode()
        + b"\0",
    )


def query(statement: str) -> bytes:
    """The packet that asks for a statement's result."""
    return packet(0, b"\x03" + statement.encode())


QUIT: Final = packet(0, b"\x01")


def parse(data: bytes) -> tuple[tuple[int, bytes], int] | None:
    """The number and the body of the first packet, and its length; None while it is not whole."""
    size = int.from_bytes(data[:3], "little")
    if size > PACKET_BYTES:
        raise MalformedError("a packet larger than any that was asked for")
    if len(data) < 4 + size:
        return None
    return (data[3], data[4 : 4 + size]), 4 + size


def checked(body: bytes) -> bytes:
    """The body of a packet that is neither empty nor an error."""
    if not body:
        raise MalformedError("an empty packet")
    if body[0] == _ERROR:
        words = body[3:]
        words = words[6:] if words[:1] == b"#" else words
        raise RefusedError(words.decode(errors="backslashreplace"))
    return body


def version(body: bytes) -> str:
    """The server's version, from its greeting."""
    if checked(body)[0] != 10:
        raise MalformedError("a greeting of another protocol")
    return body[1:].split(b"\0", 1)[0].decode(errors="backslashreplace")


def asks_for_another_way(body: bytes) -> bool:
    """Whether the answer to a login asks to log in by another plugin; else the user is in."""
    if checked(body)[0] not in (0, _END):
        raise MalformedError("no answer to a login")
    return body[0] == _END


def columns(body: bytes) -> int:
    """How many columns a result has."""
    if len(checked(body)) != 1 or not 1 <= body[0] <= COLUMNS:
        raise MalformedError("a number of columns that no result has")
    return body[0]


def column(body: bytes) -> str:
    """The name of a column, from its definition."""
    texts, position = [], 0
    for _ in range(5):
        text, position = _text(checked(body), position)
        texts.append(text or "")
    return texts[4]


def is_end(body: bytes) -> bool:
    """Whether no more columns, or rows, follow."""
    return checked(body)[0] == _END and len(body) < 9


def row(body: bytes, names: Sequence[str]) -> dict[str, str | None]:
    """A row of a result by its columns' names."""
    found: dict[str, str | None] = {}
    position = 0
    for name in names:
        found[name], position = _text(body, position)
    if position != len(body):
        raise MalformedError("a row of more columns than it said")
    return found


def _text(body: bytes, start: int) -> tuple[str | None, int]:
    """A string with its length before it, None for NULL, and where it ends."""
    first = body[start] if start < len(body) else 0xFF
    if first == _NULL:
        return None, start + 1
    wide = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    if first > 0xFE:
        raise MalformedError("a row that breaks off")
    begin = start + 1 + wide
    size = int.from_bytes(body[start + 1 : begin], "little") if wide else first
    if begin + size > len(body):
        raise MalformedError("a row that breaks off")
    return body[begin : begin + size].decode(errors="backslashreplace"), begin + size
