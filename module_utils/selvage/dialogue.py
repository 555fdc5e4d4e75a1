"""What is said to a server to learn its role, and which answer makes it healthy. Pure.

HAProxy says it (`option tcp-check`), and so does the reconciler before it lets a server in: both
from here, so that they cannot judge differently.

Sources: https://redis.io/docs/latest/commands/role/, HAProxy's configuration manual, `tcp-check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .healthcheck import Check
from .mysql import wire


@dataclass(frozen=True)
class Step:
    """Bytes to say, and a regular expression that the answer has to contain.

    The expression is for Python's `re` and for HAProxy's PCRE2. `others` are answers that are
    known and wrong, in words.
    """

    meaning: str
    say: bytes
    expect: bytes
    others: Mapping[bytes, str]


def dialogue(check: Check) -> tuple[Step, ...]:
    """The steps of a check that asks for a role.

    The last one asks the server to hang up. Without that only a time limit would end the wait for
    an answer that does not come.
    """
    if check.role is None:
        raise ValueError(f"a check of type {check.type} without a role has no dialogue")
    return (_redis(check, check.role),) if check.type == "redis" else _mysql(check, check.role)


_REDIS_PRIMARY: Final = rb"\*3\r\n\$6\r\nmaster\r\n"
_REDIS_REPLICA: Final = rb"\*5\r\n\$5\r\nslave\r\n"
# Host, port and state of its link.
_REDIS_CONNECTED: Final = rb"\$[0-9]+\r\n[^\r\n]+\r\n:[0-9]+\r\n\$9\r\nconnected\r\n"


def _redis(check: Check, role: str) -> Step:
    # A user without a password is let in with any, and must show one.
    login = f"AUTH {check.user} {check.user}\r\n" if check.user else ""
    begin = rb"^\+OK\r\n" if check.user else b"^"
    primary, replica = begin + _REDIS_PRIMARY, begin + _REDIS_REPLICA
    return Step(
        meaning=f"a {role}",
        say=f"{login}ROLE\r\nQUIT\r\n".encode(),
        expect=primary if role == "primary" else replica + _REDIS_CONNECTED,
        others=(
            {replica: "it is a replica"}
            if role == "primary"
            else {
                primary: "it is a primary",
                replica: "it is not connected to its primary",
            }
        ),
    )


_PLUGINS: Final = {"mariadb": "mysql_native_password", "mysql": "caching_sha2_password"}
_READ_ONLY: Final = {"primary": b"0", "replica": b"1"}


def _mysql(check: Check, role: str) -> tuple[Step, ...]:
    flavour = check.flavour or ""
    other = "replica" if role == "primary" else "primary"
    return (
        Step(
            meaning="logged in",
            say=wire.login(check.user or "", _PLUGINS[flavour]),
            # The third packet of all says OK, and nothing was changed.
            expect=rb"\x07\x00\x00\x02\x00\x00\x00",
            # An error has a number, and `#` before its class.
            others={rb"\x00\x00\x02\xff..#.....": "it does not let the user in"},
        ),
        Step(
            meaning=f"a {role}",
            say=wire.query("SELECT @@global.read_only") + wire.QUIT,
            # The fourth packet of the result is its row: one field of one character.
            expect=_row(role),
            others={_row(other): "it is writable" if other == "primary" else "it is read-only"},
        ),
    )


def _row(role: str) -> bytes:
    return rb"\x02\x00\x00\x04\x01" + _READ_ONLY[role]
