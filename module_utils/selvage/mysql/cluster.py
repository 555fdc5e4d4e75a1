"""Who is primary, and what each other server needs. The servers say so.

The inventory names the first primary of a cluster that has no data yet, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .gtid import beyond
from .servers import Server


@dataclass(frozen=True)
class Primary:
    """The one that writes, or that alone may."""

    server: Server
    # It came back from a restart, and waits to be let write again.
    resting: bool


@dataclass(frozen=True)
class New:
    """No server has data: the inventory's first one begins."""

    first: str


@dataclass(frozen=True)
class Unclear:
    """Nobody may be told to write; each reason is one line."""

    reasons: tuple[str, ...]


def find_primary(servers: Sequence[Server], first: str) -> Primary | New | Unclear:
    """Who is primary, by what all members said."""
    holders = [server for server in servers if server.holds_data]
    writable = [server for server in holders if not server.read_only]
    silent = [server for server in servers if server.problem is not None]
    if len(writable) > 1:
        return Unclear((two_writers(writable),))
    if writable:
        return _writer(writable[0])
    if silent:
        rest = "the other members have no data" if not holders else "no other member is writable"
        return Unclear(
            tuple(
                f"{server.name} may be the primary, for {rest}, but it does not answer: "
                f"{server.problem}; repair it first"
                for server in silent
            )
        )
    if holders:
        return _resting(holders)
    if any(server.seeding for server in servers):
        names = " and ".join(server.name for server in servers if server.seeding)
        return Unclear(
            (f"{names} waited for data from a primary, and no member has data: restore a backup",)
        )
    return New(first)


def two_writers(writable: Iterable[Server]) -> str:
    """The line about them."""
    names = " and ".join(server.name for server in writable)
    return (
        f"{names} are writable at the same time: find out which of them has the data that count, "
        "and run SET GLOBAL read_only=1 on the other"
    )


def _writer(server: Server) -> Primary | Unclear:
    if server.cluster is None:
        return Unclear((unknown_data(server),))
    if server.replication is None:
        return Primary(server, resting=False)
    return Unclear(
        (
            f"{server.name} is writable and replicates from {server.replication.source}: run "
            "SET GLOBAL read_only=1 on it if it is a replica, STOP SLAVE; RESET SLAVE ALL if not",
        )
    )


def _resting(holders: Sequence[Server]) -> Primary | Unclear:
    """All are read-only, as after a restart of each: who is it that all others replicate from?"""
    roots = _most_likely([server for server in holders if server.replication is None], holders)
    if len(roots) != 1:
        names = " and ".join(server.name for server in roots) or "none of the members"
        return Unclear(
            (f"no member is writable, and {names} could be the primary: see the role's README",)
        )
    (root,) = roots
    if root.cluster is None:
        return Unclear((unknown_data(root),))
    reasons = []
    for server in holders:
        if server.replication is None:
            continue
        if not replicates_from(server, root):
            reasons.append(
                f"no member is writable, and {server.name} replicates from "
                f"{server.replication.source}, not from {root.name}: see the role's README"
            )
        elif more := beyond(server.received, root.history):
            reasons.append(
                f"no member is writable, and {server.name} has transactions that {root.name} has "
                f"not, {', '.join(more)}: promote {server.name} instead"
            )
    return Unclear(tuple(reasons)) if reasons else Primary(root, resting=True)


def _most_likely(roots: Sequence[Server], holders: Sequence[Server]) -> Sequence[Server]:
    """Of several without a source: a former primary that has not rejoined lacks what came after it.

    Where they have the same, it is the one that others replicate from.
    """
    if len(roots) < 2:
        return roots
    complete = [
        root for root in roots if not any(beyond(one.received, root.history) for one in holders)
    ]
    followed = [root for root in complete if any(replicates_from(one, root) for one in holders)]
    return complete if len(complete) == 1 else followed or roots


def replicates_from(server: Server, source: Server) -> bool:
    """Whether its configured source is that server."""
    return server.replication is not None and (
        (server.replication.source, server.replication.port) == (source.address, source.port)
    )


@dataclass(frozen=True)
class Need:
    """What one server needs, and the reason in words."""

    # keep: nothing. seed: the primary's data. replicate: another source. rejoin: a source, for it
    # was a primary. start: its threads. refuse: an operator.
    action: str
    reason: str


def need(server: Server, primary: Server) -> Need:
    """What a server needs to be a replica of the primary.

    The primary's history has to be asked for after the server's: what was written in between
    would else count as the replica's own.
    """
    if server.problem is not None:
        return Need("refuse", f"{server.name} does not answer: {server.problem}")
    if server.seeding:
        return Need("seed", f"an interrupted seeding of {server.name} starts over")
    if server.version and (
        server.flavour != primary.flavour or server.version < (primary.version or ())
    ):
        return Need(
            "refuse",
            f"{server.name} runs {_version(server)} and cannot replicate from {primary.name} with "
            f"{_version(primary)}: upgrade replicas first",
        )
    if server.fresh:
        return Need("seed", f"{server.name} has no data")
    if (foreign := foreign_data(server, primary)) is not None:
        return Need("refuse", foreign)
    if errant := beyond(server.history, primary.history):
        return Need(
            "refuse",
            f"{server.name} has transactions that the primary {primary.name} has not: "
            f"{', '.join(errant)}; save what you need of them, then let it be seeded anew "
            "(the role's README)",
        )
    replication = server.replication
    if replication is None:
        return Need("rejoin", f"{server.name} has the cluster's data and no source")
    if not replicates_from(server, primary):
        return Need(
            "replicate", f"{server.name} replicates from {replication.source}, not {primary.name}"
        )
    if replication.error is not None:
        return Need("refuse", f"replication on {server.name} stopped: {replication.error}")
    if replication.no_entry is not None:
        return Need(
            "replicate", f"{primary.name} lets {server.name} not in: {replication.no_entry}"
        )
    if not (replication.receiving and replication.applying):
        return Need("start", f"replication on {server.name} is stopped, without an error")
    if server.waits:
        return Need("replicate", f"{server.name} replicates, and waits for replicas of its own")
    lag = "an unknown time" if replication.lag_s is None else f"{replication.lag_s} s"
    return Need("keep", f"{server.name} replicates, {lag} behind")


def foreign_data(server: Server, primary: Server) -> str | None:
    """Why these data are none of the primary's cluster."""
    if server.cluster == primary.cluster:
        return None
    if server.cluster is None:
        return unknown_data(server)
    return (
        f"{server.name} has data of the cluster {server.cluster}, and {primary.name} is of the "
        f"cluster {primary.cluster}: remove {server.name} from the inventory, or move its data away"
    )


def unknown_data(server: Server) -> str:
    """The line about data without a cluster's name."""
    return (
        f"{server.name} has data which no cluster of Selvage wrote: remove it from the inventory, "
        "or move its data away"
    )


def _version(server: Server) -> str:
    numbers = ".".join(map(str, server.version or ()))
    return f"{server.flavour.title} {numbers}"
