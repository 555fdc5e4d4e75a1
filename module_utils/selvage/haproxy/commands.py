"""The Runtime API's commands that change servers, and whether an answer confirms them."""

from __future__ import annotations

import re
from typing import Final

from ..catalogue import WEIGHT_MAX
from ..formats.grammar import printable

# What HAProxy takes (`invalid_char`): somebody may have added a server of any such name by hand.
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_ARGUMENTS: Final = re.compile(r"[A-Za-z0-9_.:/\[\] -]+")
# What confirms a command; the others say nothing when they succeed.
_CONFIRMATIONS: Final = {
    "add server ": "New server registered.",
    "del server ": "Server deleted.",
}
_BUSY: Final = "Server still has connections attached to it, cannot remove it."


class CommandRefused(Exception):
    """HAProxy refused a command; `busy` when the server to be deleted is still in use."""

    def __init__(self, line: str, answer: str) -> None:
        super().__init__(f"HAProxy answered {printable(' '.join(answer.split()))!r} to: {line}")
        self.busy = _BUSY in answer


def add(service: str, server: str, arguments: str) -> str:
    """The command that adds a server, in maintenance; `arguments` as in its line of the file."""
    if _ARGUMENTS.fullmatch(arguments) is None:
        raise ValueError(f"not arguments of a server: {arguments!r}")
    return f"add server {_target(service, server)} {arguments}"


def admit(service: str, server: str, *, healthy: bool) -> str:
    """The commands that give a server traffic: at once, or once HAProxy's own checks say so."""
    target = _target(service, server)
    health = "up" if healthy else "down"
    return f"enable server {target}; set server {target} health {health}; enable health {target}"


def demote(service: str, server: str) -> str:
    """The command that takes a server's traffic until HAProxy's own checks find it healthy."""
    return f"set server {_target(service, server)} health down"


def disable(service: str, server: str) -> str:
    """The command that puts a server into maintenance."""
    return f"set server {_target(service, server)} state maint"


def drain(service: str, server: str) -> str:
    """The command after which a server gets no new sessions."""
    return f"set server {_target(service, server)} state drain"


def stop(service: str, server: str) -> str:
    """The commands after which a server gets no new sessions, and loses those that it has."""
    target = _target(service, server)
    return f"set server {target} state maint; shutdown sessions server {target}"


def undrain(service: str, server: str) -> str:
    """The command that takes a drain back."""
    return f"set server {_target(service, server)} state ready"


def remove(service: str, server: str, version: tuple[int, int], *, sessions: bool) -> str:
    """The commands that delete a server; with `sessions` they end those that it has.

    `execute` raises `CommandRefused`, which is `busy` until the last connection is gone: HAProxy
    2.6 says so at once, later ones wait for a moment.
    """
    target = _target(service, server)
    # HAProxy 2.6 closes idle connections only of a server that is up when it gets its maintenance.
    wait = f"wait 100ms srv-removable {target}; " if version >= (3, 0) else ""
    raised = "" if wait else f"set server {target} state drain; set server {target} health up; "
    shutdown = f"shutdown sessions server {target}; " if sessions else ""
    return f"{raised}set server {target} state maint; {shutdown}{wait}del server {target}"


def open_frontend(service: str) -> str:
    """The command that lets a service take connections again after `disable frontend`."""
    return f"enable frontend {_name(service)}"


def set_weight(service: str, server: str, weight: int) -> str:
    """The command that sets a server's weight, 0 to 256."""
    if not 0 <= weight <= WEIGHT_MAX:
        raise ValueError(f"not a weight: {weight}")
    return f"set server {_target(service, server)} weight {weight}"


def set_max_connections(service: str, server: str, limit: int | None) -> str:
    """The command that sets a server's limit of connections; None lifts it."""
    return f"set maxconn server {_target(service, server)} {limit or 0:d}"


def _target(service: str, server: str) -> str:
    return f"{_name(service)}/{_name(server)}"


def _name(name: str) -> str:
    # `;` and newlines separate commands: nothing else keeps a name from being one.
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"not a name for HAProxy: {name!r}")
    return name
