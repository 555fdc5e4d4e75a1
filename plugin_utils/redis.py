"""What role redis needs to know of its inputs, on the controller, before anything changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

from selvage.fields import Fields, Invalid, unique
from selvage.redis import users

# The role's own users: nobody else may be called so.
RESERVED = ("selvage", "replication", "sentinel", "check")
# Settings that the role makes from other inputs, or that belong to Redis.
_TAKEN = re.compile(
    r"aclfile|bind|dir|enable-.*|include|loadmodule|masterauth|masteruser|port|protected-mode"
    r"|rename-command|replica-announce-.*|replicaof|requirepass|slave.*|supervised|daemonize|tls-.*"
    r"|unixsocket.*|user"
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_PATH = re.compile(r"(/[A-Za-z0-9._@+-]+)+")


def hashed_users(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The users with the hashes of their passwords instead of these."""
    return [
        {
            **{name: value for name, value in user.items() if name != "passwords"},
            "hashes": [users.hashed(str(password)) for password in user.get("passwords", [])],
        }
        for user in given
    ]


def users_file(given: Sequence[Mapping[str, Any]]) -> str:
    """The text of the file from which a server reads these users when it starts."""
    return users.text(users.parse(list(given), "users"))


def problems(inputs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the role's inputs, a line each, without any secret."""
    checks: Sequence[Callable[[Mapping[str, Any]], None]] = (
        _members,
        _ports,
        _files,
        _secrets,
        _users,
        _settings,
    )
    found = []
    for check in checks:
        try:
            check(inputs)
        except Invalid as problem:
            found.append(str(problem))
    return found


def _members(inputs: Mapping[str, Any]) -> None:
    members = Fields(dict(inputs), "").tables("redis_members")
    names = [member.text("name", _NAME, "a host's name") for member in members]
    addresses = [member.text("address", r"[0-9.]{7,15}", "an IPv4 address") for member in members]
    for member in members:
        member.done()
    for index, address in enumerate(addresses):
        try:
            IPv4Address(address)
        except ValueError:
            raise Invalid(f"redis_members[{index}].address: {address} is no address") from None
    if len(members) < 3:
        raise Invalid(
            f"redis_members has {len(members)} members: list at least 3, because fewer Sentinels"
            " have no majority once one is away"
        )
    unique(names, "redis_members", "name")
    unique(addresses, "redis_members", "address")
    if inputs["redis_name"] not in names:
        raise Invalid(
            f"redis_name is {inputs['redis_name']!r:.80}, but redis_members has {', '.join(names)}:"
            " add this host, or correct its name"
        )


def _ports(inputs: Mapping[str, Any]) -> None:
    fields = Fields(dict(inputs), "")
    ports = {
        name: fields.integer(name, 1, 65_535) for name in ("redis_port", "redis_sentinel_port")
    }
    plain = fields.integer("redis_plain_port", 0, 65_535)
    if len({*ports.values(), plain}) < 3:
        raise Invalid(
            f"redis_port, redis_sentinel_port and redis_plain_port are {ports['redis_port']},"
            f" {ports['redis_sentinel_port']} and {plain}: give each its own"
        )
    fields.integer("redis_down_after", 1, 3_600)
    fields.integer("redis_wait", 1, 86_400)
    if 0 < fields.integer("redis_maxmemory", 0, 1 << 50) < 16 << 20:
        raise Invalid("redis_maxmemory: expected bytes, at least 16 MiB, or 0")


def _files(inputs: Mapping[str, Any]) -> None:
    for name in ("redis_tls_ca", "redis_tls_cert", "redis_tls_key"):
        if _PATH.fullmatch(str(inputs[name])) is None:
            raise Invalid(f"{name}: expected an absolute path of letters, digits and ._@+-")


def _secrets(inputs: Mapping[str, Any]) -> None:
    """Each secret is good enough, and none serves for two."""
    owners: dict[str, str] = {}
    lists = {
        f"redis_{part}_passwords": inputs[f"redis_{part}_passwords"]
        for part in ("admin", "replication", "sentinel")
    }
    for index, user in enumerate(inputs["redis_users"]):
        lists[f"redis_users[{index}].passwords"] = user.get("passwords")
    for place, passwords in lists.items():
        if not isinstance(passwords, list) or not 1 <= len(passwords) <= 2:
            raise Invalid(f"{place}: expected a list of one password, or of two while they rotate")
        for index, password in enumerate(passwords):
            here = f"{place}[{index}]"
            users.check_password(password, here)
            other = owners.setdefault(str(password), here)
            if other != here:
                raise Invalid(f"{here}: is the same as {other}: give each its own")


def _users(inputs: Mapping[str, Any]) -> None:
    given = inputs["redis_users"]
    blank = [{k: v for k, v in user.items() if k != "passwords"} for user in given]
    for entry in blank:
        entry["hashes"] = ["0" * 64]
    for user in users.parse(blank, "redis_users"):
        if user.name in RESERVED:
            raise Invalid(f"redis_users: {user.name} is a user of the role's own: rename it")


def _settings(inputs: Mapping[str, Any]) -> None:
    for name, value in Fields(dict(inputs), "").mapping("redis_settings").items():
        if not isinstance(name, str) or re.fullmatch(r"[a-z][a-z0-9_-]{1,63}", name) is None:
            raise Invalid(f"redis_settings: {name!r:.80} is no setting's name")
        if _TAKEN.fullmatch(name):
            raise Invalid(f"redis_settings.{name}: this one is the role's, or Redis's own")
        if isinstance(value, bool) or re.fullmatch(r"[A-Za-z0-9 ._/:-]{0,200}", str(value)) is None:
            raise Invalid(
                f"redis_settings.{name}: expected a value as CONFIG GET gives it, such as 'yes' or"
                " '100', with quotes around words"
            )
