"""A service's health check, as operators write it, and the words that several checks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .fields import Fields

_URI: Final = r"/[A-Za-z0-9._~:@&=+,%/?-]{0,254}"
_USER: Final = r"[A-Za-z0-9._-]{1,32}"
# It stands in HAProxy's configuration and in commands to it: no character of theirs.
_CA_FILE: Final = r"/[A-Za-z0-9._/-]{1,254}"


@dataclass(frozen=True)
class Check:
    """HAProxy's health check of each server. `path` is empty and the others None where unused.

    `role` is primary or replica, `ca` the file with the CA of servers that speak TLS.
    """

    type: str = "http"
    path: str = "/health"
    interval_ms: int = 2_000
    timeout_ms: int = 1_000
    rise: int = 2
    fall: int = 3
    user: str | None = None
    role: str | None = None
    ca: str | None = None
    flavour: str | None = None


def parse_check(fields: Fields, mode: str) -> Check:
    """The check of a service in this mode. Raises `fields.Invalid`."""
    kind = fields.choice(
        "type", ("http", "tcp", "mysql", "redis"), "http" if mode == "http" else "tcp"
    )
    if mode == "http" and kind not in ("http", "tcp"):
        raise fields.fail("type", f"{kind} needs mode tcp")
    belongs(
        fields,
        kind,
        {
            "path": ("http",),
            "user": ("mysql", "redis"),
            "role": ("mysql", "redis"),
            "ca": ("redis",),
            "flavour": ("mysql",),
        },
    )
    role = optional_role(fields)
    for name in ("ca", "flavour", *(["user"] if kind == "redis" else [])):
        if fields.has(name) and role is None:
            raise fields.fail(name, "has no effect without role: primary or replica")
    if kind == "mysql" and role is not None and not fields.has("user"):
        raise fields.fail("user", "is required with a role")
    path = fields.text("path", _URI, "a path such as /health, without spaces or quotes", "/health")
    check = Check(
        type=kind,
        path=path if kind == "http" else "",
        interval_ms=fields.duration("interval", "50ms", "5m", "2s"),
        timeout_ms=fields.duration("timeout", "10ms", "5m", "1s"),
        rise=fields.integer("rise", 1, 100, 2),
        fall=fields.integer("fall", 1, 100, 3),
        user=optional_user(fields),
        role=role,
        ca=optional_ca(fields),
        flavour=(
            fields.choice("flavour", ("mariadb", "mysql"), "mariadb")
            if kind == "mysql" and role is not None
            else None
        ),
    )
    fields.done()
    return check


def belongs(fields: Fields, kind: str, types: Mapping[str, Sequence[str]]) -> None:
    """Refuse fields of a check that belong to other types than its own."""
    for name, needed in types.items():
        if fields.has(name) and kind not in needed:
            raise fields.fail(
                name, f"belongs to type {' or '.join(needed)}, but the type is {kind}"
            )


def optional_role(fields: Fields) -> str | None:
    """Which role a check asks for, if it asks for one."""
    return fields.choice("role", ("primary", "replica")) if fields.has("role") else None


def optional_user(fields: Fields) -> str | None:
    """As whom a check logs in."""
    if not fields.has("user"):
        return None
    return fields.text("user", _USER, "letters, digits, dots, - and _, at most 32")


def optional_ca(fields: Fields) -> str | None:
    """The file with the CA of the servers that a check speaks TLS with."""
    if not fields.has("ca"):
        return None
    return fields.text(
        "ca", _CA_FILE, "an absolute path of letters, digits, dots, -, _ and /, at most 255"
    )
