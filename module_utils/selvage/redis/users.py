"""Users of Redis and Sentinel: their rules as words, and what to tell a server. Pure.

A server learns rules by ACL SETUSER, not by ACL LOAD: in 7.0 that cuts every connection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..fields import Fields, Invalid, unique

# Safe in every file of Redis's and Sentinel's, which quote differently or not at all.
_GRAMMAR: Final = r"[A-Za-z0-9_.~@%^*+=:,/-]{16,128}"
_NAME: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
_PATTERN: Final = r"[!-~]{1,128}"
_COMMANDS: Final = r"[+-]@?[a-z0-9|_.-]{1,64}( [+-]@?[a-z0-9|_.-]{1,64}){0,199}"
# Rules are tried out on a user of this name, which is never let in and gone at once.
SCRATCH: Final = "selvage-scratch"
OFF: Final = ("reset", "sanitize-payload", "resetchannels", "-@all")


@dataclass(frozen=True)
class User:
    """A user as it is to be. Each of the passwords lets in: two of them while they rotate."""

    name: str
    hashes: tuple[str, ...] = field(repr=False)
    rules: tuple[str, ...]
    # Any password lets in: who may do nothing that needs one.
    nopass: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """All that ACL SETUSER needs, whatever the user was before."""
        return ("reset", "on", *self.passes, *self.rules)

    @property
    def passes(self) -> tuple[str, ...]:
        """What lets the user in."""
        return ("nopass",) if self.nopass else tuple(f"#{value}" for value in self.hashes)


@dataclass(frozen=True)
class Account:
    """A user as the server has it, from ACL GETUSER."""

    enabled: bool
    hashes: frozenset[str] = field(repr=False)
    rules: tuple[str, ...]
    nopass: bool = False

    @property
    def passes(self) -> frozenset[str]:
        """What lets the user in."""
        return frozenset(["nopass"] if self.nopass else (f"#{value}" for value in self.hashes))


def parse(document: object, where: str) -> list[User]:
    """The users that an operator or the role gives; raises `fields.Invalid`, without a password."""
    users = [_user(one) for one in Fields({where: document}, "").tables(where)]
    unique((user.name for user in users), where, "user")
    return users


def _user(given: Fields) -> User:
    name = given.text("name", _NAME, "a name of letters, digits and ._-")
    if name in ("default", SCRATCH):
        raise given.fail("name", f"{name} is nobody's")
    keys = given.texts("keys", _PATTERN, "a pattern without blanks, such as orders:*")
    channels = given.texts("channels", _PATTERN, "a pattern without blanks, such as news.*")
    commands = given.text(
        "commands", _COMMANDS, "rules such as '+@read +@write -@dangerous'", "-@all"
    )
    hashes = given.texts("hashes", r"[0-9a-f]{64}", "a SHA-256 in hexadecimal digits")
    nopass = given.boolean("nopass", False)
    given.done()
    if len(hashes) not in ((0,) if nopass else (1, 2)):
        raise given.fail("hashes", "expected one password, or two while they rotate")
    rules = [f"~{pattern}" for pattern in keys]
    rules += ["resetchannels", *(f"&{pattern}" for pattern in channels)]
    rules += ["-@all", *commands.split()]
    return User(name, tuple(hashes), tuple(rules), nopass)


def hashed(password: str) -> str:
    """What stands for the password in files and in what servers answer."""
    return hashlib.sha256(password.encode()).hexdigest()


def text(users: Sequence[User]) -> str:
    """The file that a server reads its users from when it starts."""
    lines = [f"user default off {' '.join(OFF[1:])}"]
    lines += [f"user {user.name} {' '.join(user.words[1:])}" for user in users]
    return "".join(f"{line}\n" for line in lines)


def account(answer: Mapping[str, object]) -> Account:
    """An account from the pairs of ACL GETUSER."""
    flags, passwords = answer.get("flags"), answer.get("passwords")
    rules = (str(answer.get(part)) for part in ("keys", "channels", "commands", "selectors"))
    return Account(
        enabled=isinstance(flags, list) and "on" in flags,
        hashes=frozenset(map(str, passwords)) if isinstance(passwords, list) else frozenset(),
        rules=tuple(rules),
        nopass=isinstance(flags, list) and "nopass" in flags,
    )


def widening(user: User, has: Account | None) -> tuple[str, ...]:
    """What lets the user in with each of its passwords, and takes none away; empty if all do."""
    if has is None or not has.enabled:
        return user.words
    return tuple(word for word in user.passes if word not in has.passes)


def narrowing(user: User, has: Account | None, tried: Account) -> tuple[str, ...]:
    """What makes the user exactly that; empty if it is. `tried`: its rules, as the server says."""
    right = (
        has is not None
        and has.enabled
        and has.passes == frozenset(user.passes)
        and has.rules == tried.rules
    )
    return () if right else user.words


def check_password(password: object, where: str) -> str:
    """A password that may be used; raises `fields.Invalid` with its place and never with itself."""
    try:
        return Fields({"it": password}, "").text("it", _GRAMMAR, "")
    except Invalid:
        raise Invalid(
            f"{where}: expected 16 to 128 letters, digits and _.~@%^*+=:,/- (not shown here)"
        ) from None
