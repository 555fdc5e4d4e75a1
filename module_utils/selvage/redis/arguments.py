"""The arguments that the modules for Redis share, from Ansible's to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..fields import Fields, Invalid, unique
from . import members
from .client import Access, Client
from .topology import Member, Ports, Seen

ACCESS: Final[dict[str, Any]] = {
    "user": {"type": "str", "required": True},
    "passwords": {"type": "list", "elements": "str", "required": True, "no_log": True},
    "ca": {"type": "path", "required": True},
    "timeout": {"type": "int", "default": 5},
}
ONE: Final[dict[str, Any]] = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    **ACCESS,
}
SETTINGS: Final[dict[str, Any]] = {
    "settings": {"type": "dict", "required": True},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
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
    **ACCESS,
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


def client(parameters: Mapping[str, Any]) -> Client:
    """A connection to the one that is asked; raises `fields.Invalid` and `client.FailedError`."""
    return Client(parameters["address"], parameters["port"], access(parameters))


def settings(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The settings that are no secrets, as Redis says them."""
    return {name: str(value) for name, value in parameters["settings"].items()}


def everybody(
    parameters: Mapping[str, Any],
) -> tuple[Callable[[], list[Seen]], Ports, Access]:
    """How all members are asked, at which ports, and by whom; raises `fields.Invalid`."""
    listed, ports = _members(parameters)
    who = access(parameters)
    return (lambda: members.look(listed, ports, who)), ports, who


def _members(parameters: Mapping[str, Any]) -> tuple[list[Member], Ports]:
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
