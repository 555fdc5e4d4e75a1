"""What role mysql needs to know of its accounts' passwords. No message has any part of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Of MASTER_PASSWORD in MySQL: 32 characters.
_PASSWORD = re.compile(r"[A-Za-z0-9_.:,+/=@%^~-]{16,32}")
# The role's own: nobody else may be called so.
_RESERVED = ("replication", "backup", "monitor", "selvage-registrar", "haproxy_check", "root")

Passwords = Mapping[str, Sequence[str]]


def own_accounts(
    members: Sequence[Mapping[str, Any]], passwords: Passwords
) -> list[dict[str, Any]]:
    """The role's accounts, with the passwords of `replication`, `backup` and `monitor`."""
    places = [("replication", member["address"]) for member in members]
    places += [(name, "localhost") for name in ("backup", "monitor")]
    return [{"name": name, "host": host, "passwords": [*passwords[name]]} for name, host in places]


def application_accounts(users: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What of applications' accounts is about logging in."""
    return [
        {"name": user["name"], "host": user.get("host", "%"), "passwords": user["passwords"]}
        for user in users
    ]


def password_problems(own: Mapping[str, object], users: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with passwords, a line each; `own` are the role's, by their input's name."""
    lists = {name: (name, value) for name, value in own.items()}
    problems = []
    for index, user in enumerate(users):
        name = user.get("name")
        if name in _RESERVED:
            problems.append(f"mysql_users: {name} is an account of the role's own: rename it")
        lists[f"mysql_users[{index}].passwords"] = (f"user {name}", user.get("passwords"))
    owners: dict[str, tuple[str, str]] = {}
    for place, (owner, passwords) in lists.items():
        if not isinstance(passwords, list) or not 1 <= len(passwords) <= 2:
            problems.append(
                f"{place}: expected a list of one password, or of the new one and the former one"
            )
            continue
        if len(passwords) == 2 and passwords[0] == passwords[1]:
            problems.append(f"{place}: the new one and the former one are the same")
            continue
        for position, password in enumerate(passwords):
            here = f"{place}[{position}]"
            if not isinstance(password, str) or not _PASSWORD.fullmatch(password):
                problems.append(f"{here}: 16 to 32 letters, digits and _.:,+/=@%^~- (not shown)")
                continue
            # The same account from elsewhere may have the same.
            other, there = owners.setdefault(password, (owner, here))
            if other != owner:
                problems.append(f"{here}: is the same as {there}: give each account its own")
    return problems
