"""All members asked at once, and one after the other told."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from . import facts, topology
from .client import Access, AwayError, Client, FailedError
from .topology import Member, Ports, Primary, Seen

# The name of what the Sentinels watch. One set of Sentinels has one primary, so it needs no input.
WATCHED: Final = "selvage"
_POLL_S: Final = 0.5


@dataclass(frozen=True)
class Problem:
    """Why somebody told nothing, and whether it was just away."""

    text: str
    away: bool


def look(members: Sequence[Member], ports: Ports, access: Access) -> list[Seen]:
    """Every member's server and Sentinel as they answer now, in the order given."""
    with ThreadPoolExecutor(max_workers=2 * len(members)) as pool:
        servers = pool.map(lambda one: _server(one, ports, access), members)
        watches = pool.map(lambda one: _watch(one, ports, access), members)
        return [
            Seen(
                member,
                server if isinstance(server, facts.Server) else None,
                watch if isinstance(watch, facts.Watch) else None,
                tuple(one.text for one in (server, watch) if isinstance(one, Problem)),
                tuple(
                    one.text for one in (server, watch) if isinstance(one, Problem) and not one.away
                ),
            )
            for member, server, watch in zip(members, servers, watches, strict=True)
        ]


def _server(member: Member, ports: Ports, access: Access) -> facts.Server | Problem:
    try:
        with Client(member.address, ports.server, access) as client:
            return facts.server(client.text("INFO"))
    except (FailedError, facts.OddError) as error:
        text = f"redis-server ({member.address}:{ports.server}) {error}"
        return Problem(text, isinstance(error, AwayError))


def _watch(member: Member, ports: Ports, access: Access) -> facts.Watch | Problem:
    try:
        with Client(member.address, ports.sentinel, access) as client:
            return facts.watch(
                client.text("SENTINEL", "MYID"),
                client.ask("SENTINEL", "MASTER", WATCHED),
                client.items("SENTINEL", "REPLICAS", WATCHED),
                client.items("SENTINEL", "SENTINELS", WATCHED),
            )
    except (FailedError, facts.OddError) as error:
        text = f"redis-sentinel ({member.address}:{ports.sentinel}) {error}"
        return Problem(text, isinstance(error, AwayError))


def decide(
    ask: Callable[[], list[Seen]], new: Collection[str], wait_s: float
) -> tuple[list[Seen], Primary]:
    """Look until it is clear who is primary and that one answers as such, at most for `wait_s`.

    Raises `topology.UndecidedError`. Who is away for longer than that is a shortcoming of its own.
    """
    deadline = time.monotonic() + wait_s
    while True:
        seen = ask()
        late = time.monotonic() >= deadline
        try:
            at = topology.primary(seen, new)
        except topology.UndecidedError:
            if late:
                raise
        else:
            if late or at.by == "inventory" or _serves(seen, at):
                return seen, at
        time.sleep(_POLL_S)


def _serves(seen: Sequence[Seen], at: Primary) -> bool:
    return any(
        one.member.address == at.address and one.server is not None and one.server.follows is None
        for one in seen
    )


def settle(
    ask: Callable[[], list[Seen]],
    wrong: Callable[[list[Seen], Primary], list[str]],
    new: Collection[str],
    wait_s: float,
) -> tuple[list[Seen], Primary, list[str]]:
    """Look until nothing is `wrong`, at most for `wait_s`; what is wrong last.

    Raises `topology.UndecidedError`.
    """
    deadline = time.monotonic() + wait_s
    while True:
        seen, at = decide(ask, new, max(0.0, deadline - time.monotonic()))
        problems = wrong(seen, at)
        if not problems or time.monotonic() >= deadline:
            return seen, at, problems
        time.sleep(_POLL_S)
