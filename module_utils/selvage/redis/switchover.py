"""A planned failover: writes pause, replicas catch up, Sentinel promotes one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from . import topology
from .client import Access, Client, FailedError
from .members import WATCHED, settle
from .topology import Member, Ports, Primary, Seen

# Writes wait for so long at most, whatever becomes of us: Redis itself ends the pause.
_PAUSE_MS: Final = 10_000
_POLL_S: Final = 0.05
# Twice as long as Sentinel waits before it asks a replica again (sentinel_info_period).
_HEARD_S: Final = 20.0


class RefusedSwitchError(Exception):
    """Nothing has changed, or a pause alone that has ended; the message says why."""


def switch(
    ask: Callable[[], list[Seen]],
    ports: Ports,
    access: Access,
    wait_s: float,
    *,
    dry_run: bool = False,
) -> tuple[Primary, Primary]:
    """Let another member be primary; the former and the new one.

    Raises `RefusedSwitchError`, `topology.UndecidedError` and `client.FailedError`.
    """
    seen, former, _ = settle(ask, topology.not_heard_of, (), _HEARD_S)
    if wrong := topology.shortcomings(seen, ports, former) or topology.not_heard_of(seen, former):
        raise RefusedSwitchError(f"{'; '.join(wrong)}: repair this first")
    if topology.successor(seen, ports, former) is None:
        raise RefusedSwitchError("no replica is in sync: there is nobody to hand over to")
    if dry_run:
        return former, former
    deadline = time.monotonic() + wait_s
    with Client(former.address, ports.server, access) as primary:
        primary.ask("CLIENT", "PAUSE", str(_PAUSE_MS), "WRITE")
        try:
            _caught_up(ask, ports, former)
            _promote(seen, ports, access)
        except BaseException:
            primary.ask("CLIENT", "UNPAUSE")
            raise
    while True:
        seen = ask()
        now = topology.primary(seen, ())
        others = [one for one in seen if one.member.address == now.address]
        serves = any(one.server is not None and one.server.follows is None for one in others)
        if now.address != former.address and serves:
            _demote(former, now, ports, access)
            return former, now
        if time.monotonic() >= deadline:
            raise RefusedSwitchError(
                f"Sentinel promoted nobody within {wait_s:g} s: look into the journal of"
                " redis-sentinel on all members"
            )
        time.sleep(_POLL_S)


def _demote(former: Primary, now: Primary, ports: Ports, access: Access) -> None:
    """What Sentinel does to the former primary some ten seconds later, when the pause has ended.

    Whoever is connected there is cut off, and so finds the new one.
    """
    with suppress(FailedError), Client(former.address, ports.server, access) as server:
        server.ask("REPLICAOF", now.address, str(ports.server))
        server.ask("CONFIG", "REWRITE")
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        server.ask("CLIENT", "UNPAUSE")


def _caught_up(ask: Callable[[], list[Seen]], ports: Ports, at: Primary) -> None:
    """Return when every replica has all of the primary's writes, which have paused."""
    deadline = time.monotonic() + _PAUSE_MS / 2_000
    while not _equal(ask(), ports, at):
        if time.monotonic() >= deadline:
            raise RefusedSwitchError("the replicas do not catch up while writes pause: try later")
        time.sleep(_POLL_S)


def _equal(seen: Sequence[Seen], ports: Ports, at: Primary) -> bool:
    offset = next(
        (o.server.offset for o in seen if o.member.address == at.address and o.server), -1
    )
    replicas = [one.server for one in seen if one.member.address != at.address]
    return all(
        one is not None
        and one.in_sync
        and one.follows == (at.address, ports.server)
        # Pings of the primary go on, so a replica may be ahead of what it said a moment ago.
        and one.offset >= offset
        for one in replicas
    )


def _promote(seen: Sequence[Seen], ports: Ports, access: Access) -> None:
    """Ask the Sentinels in turn until one begins."""
    refusals = []
    for one in seen:
        try:
            _begin(one.member, ports, access)
        except FailedError as error:
            refusals.append(f"{one.member.name} {error}")
        else:
            return
    raise RefusedSwitchError(f"no Sentinel begins: {'; '.join(refusals)}")


def _begin(member: Member, ports: Ports, access: Access) -> None:
    with Client(member.address, ports.sentinel, access) as sentinel:
        sentinel.ask("SENTINEL", "FAILOVER", WATCHED)
