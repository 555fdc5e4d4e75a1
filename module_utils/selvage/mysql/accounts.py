"""By which passwords an account lets in; servers are told hashes, and nothing else. Pure.

What is about hashes is MariaDB's; dual_passwords.py has MySQL's.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..fields import Invalid

# Whatever else lets in (a socket, no password at all) is none of them.
_NATIVE: Final = "mysql_native_password"
_HASH: Final = re.compile(r"\*[0-9A-F]{40}")
# Lines of master.info, the first of which says how many there are.
_USER, _PASSWORD = 4, 5


@dataclass(frozen=True)
class Account:
    """Who may log in, from where, and by which of these, the new one first."""

    name: str
    host: str
    passwords: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name}@{self.host}"


@dataclass(frozen=True)
class Change:
    """Statements for the server, and how many passwords let in before and after them."""

    account: Account
    # Each with its values.
    statements: tuple[tuple[str, tuple[str, ...]], ...] = field(repr=False)
    before: int
    after: int
    new: int

    def told(self) -> tuple[str, str]:
        """One line each for the state before and after, without a hash."""
        before = f"{self.account}: {_count(self.before)}\n" if self.before else ""
        fresh = f", {self.new} of them new" if self.new else ""
        return before, f"{self.account}: {_count(self.after)}{fresh}\n"


def _count(number: int) -> str:
    return f"{number} password{'s' if number > 1 else ''} (hidden)"


def hashed(password: str) -> str:
    """What a server keeps of a password: PASSWORD() in its own words."""
    inner = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()


def parse(given: Sequence[Mapping[str, Any]]) -> list[Account]:
    """Accounts with name, host and passwords."""
    return [Account(each["name"], each["host"], tuple(each["passwords"])) for each in given]


def in_force(privileges: str) -> tuple[str, ...]:
    """The hashes that let an account in, by its `Priv` in mysql.global_priv."""
    try:
        row = json.loads(privileges)
        # An empty one among several stands for the account's own.
        ways = [row | way for way in row.get("auth_or", [{}])]
        found = [(way.get("plugin"), way.get("authentication_string", "")) for way in ways]
    except (AttributeError, TypeError, ValueError) as error:
        raise Invalid(f"mysql.global_priv is not understood: {error!s:.80}") from error
    return tuple(text for plugin, text in found if plugin == _NATIVE and _HASH.fullmatch(text))


def change(account: Account, privileges: str | None, *, exact: bool) -> Change | None:
    """What makes its passwords these; without `exact` those that it has stay.

    `privileges` are None where there is no such account.
    """
    before = () if privileges is None else in_force(privileges)
    wanted = [hashed(password) for password in account.passwords]
    new = [one for one in wanted if one not in before]
    after = [*wanted, *([] if exact else [one for one in before if one not in wanted])]
    if {*before} == {*after}:
        return None
    ways = " OR ".join([f"{_NATIVE} USING %s"] * len(after))
    verb = "CREATE USER IF NOT EXISTS" if privileges is None else "ALTER USER"
    return Change(
        account,
        ((f"{verb} %s@%s IDENTIFIED VIA {ways}", (account.name, account.host, *after)),),
        len(before),
        len(after),
        len(new),
    )


def replica_password(text: str, user: str) -> str:
    """By which password a replica logs in at its source, by its master.info."""
    lines = text.split("\n")
    if not lines[0].isdigit() or not _PASSWORD < int(lines[0]) <= len(lines):
        raise Invalid("master.info is not understood: it does not begin with its number of lines")
    if lines[_USER] != user:
        raise Invalid(f"it replicates as {lines[_USER]!r:.80}, and not as {user}")
    return lines[_PASSWORD]
