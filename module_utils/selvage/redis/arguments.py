"""The arguments that the modules for Redis share, from Ansible's to ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..fields import Fields, Invalid, unique
from .client import Access
from .topology import Member, Ports

ACCESS: Final[dict[str, Any]] = {
    "user": {"type": "str", "required": True},
    "passwords": {"type": "list", "elements": "str", "required": True, "no_log": True},
    "ca": {"type": "path", "required": True},
    "timeout": {"type": "int", "default": 5},
}
MEMBERS: Final[dict[str, Any]] = {
    "members": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
        },
    },
    "port": {"type": "int", "required": True},
    "sentinel_port": {"type": "int", "required": True},
}


def access(parameters: Mapping[str, Any]) -> Access:
    """Who asks; raises `fields.Invalid`."""
    timeout = Fields(dict(parameters), "").integer("timeout", 1, 600)
    passwords = tuple(parameters["passwords"])
    if not passwords or not all(passwords):
        raise Invalid("passwords: expected one, or two while they rotate")
    made = Access(parameters["user"], passwords, Path(parameters["ca"]), float(timeout))
    made.context()
    return made


def members(parameters: Mapping[str, Any]) -> tuple[list[Member], Ports]:
    """Whom to ask; raises `fields.Invalid`."""
    if not parameters["members"]:
        raise Invalid("members: is empty; list all of them")
    given = Fields(dict(parameters), "")
    ports = Ports(
        given.integer("port", 1, 65_535),
        given.integer("sentinel_port", 1, 65_535),
    )
    found = [Member(one["name"], one["address"]) for one in parameters["members"]]
    unique((one.name for one in found), "members", "name")
    unique((one.address for one in found), "members", "address")
    return found, ports
