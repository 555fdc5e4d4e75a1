"""Hosts that are members no more: detached if they still run, and forgotten by the Sentinels."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from . import topology
from .client import Access, Client, FailedError
from .members import WATCHED
from .topology import Member, Ports, Seen

_POLL_S: Final = 0.2
# A primary that nobody is: who follows it takes no writes, and no Sentinel finds it by a primary.
_NOBODY: Final = ("127.0.0.1", "1")


class StillKnownError(Exception):
    """A Sentinel does not know who it has to, or knows who is gone; the message says which."""


def forget(
    ask: Callable[[], list[Seen]],
    ports: Ports,
    access: Access,
    wait_s: float,
    *,
    dry_run: bool,
) -> list[str]:
    """Let the Sentinels know the members alone; the addresses of the others.

    Raises `topology.UndecidedError`, `StillKnownError` and `client.FailedError`.
    """
    seen = ask()
    gone = topology.strangers(seen)
    if not gone or dry_run:
        return gone
    at = topology.primary(seen, ())
    if wrong := topology.shortcomings(seen, ports, at):
        raise StillKnownError(f"{'; '.join(wrong)}: repair this first")
    for address in gone:
        _detach(address, ports, access)
    for one in seen:
        # While one has forgotten all others, a majority still knows each other.
        with Client(one.member.address, ports.sentinel, access) as sentinel:
            sentinel.ask("SENTINEL", "RESET", WATCHED)
        _wait(ask, ports, one.member, gone, wait_s)
    return gone


def _detach(address: str, ports: Ports, access: Access) -> None:
    """Tell a host that left, if it runs: otherwise all would soon know it again."""
    # A Sentinel that watches nothing any more refuses, and that is fine.
    with suppress(FailedError), Client(address, ports.sentinel, access) as sentinel:
        sentinel.ask("SENTINEL", "REMOVE", WATCHED)
    with suppress(FailedError), Client(address, ports.server, access) as server:
        server.ask("REPLICAOF", *_NOBODY)
        server.ask("CONFIG", "REWRITE")


def _wait(
    ask: Callable[[], list[Seen]], ports: Ports, member: Member, gone: list[str], wait_s: float
) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        seen = ask()
        at = topology.primary(seen, ())
        wrong = topology.shortcomings(seen, ports, at)
        mine = [one for one in seen if one.member == member]
        wrong += [f"{member.name} still knows {host}" for host in topology.known(mine) & {*gone}]
        if not wrong:
            return
        if time.monotonic() >= deadline:
            raise StillKnownError(f"{'; '.join(wrong)} (waited {wait_s:g} s)")
        time.sleep(_POLL_S)
