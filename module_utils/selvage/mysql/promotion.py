"""How another server becomes the primary: a planned switchover, and a failover, as steps.

A plan is data: who carries it out does one step after the other. Before the point of no return each
step that changed something can be undone; after it nothing is undone, and what is left is what the
servers need anyway. So an interrupted run is finished by a plan made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .cluster import foreign_data, replicates_from, two_writers
from .gtid import beyond
from .servers import Server


@dataclass(frozen=True)
class Action:
    """One thing to tell a server."""

    server: str
    # read_only, writable, stop_receiving, start, catch_up (with `other`), apply_received, forget,
    # replicate (from `other`)
    do: str
    other: str = ""


@dataclass(frozen=True)
class Step:
    """An action, and what takes it back; a step that only waits has nothing to take back."""

    action: Action
    undo: Action | None = None


@dataclass(frozen=True)
class Plan:
    """The steps in their order. The one at `no_return` makes the new primary writable."""

    target: str
    steps: tuple[Step, ...]
    no_return: int


@dataclass(frozen=True)
class Refused:
    """Why nothing is done; each reason is one line."""

    reasons: tuple[str, ...]


def switchover(servers: Sequence[Server], target: str) -> Plan | Refused:
    """From a primary that lives. Writes stop first: there are never two writers."""
    writable = [one for one in servers if one.holds_data and not one.read_only]
    if len(writable) != 1:
        reason = two_writers(writable) if writable else "no server is writable: see failover"
        return Refused((reason,))
    (primary,) = writable
    if primary.name == target:
        return Refused((f"{target} is the primary already",))
    chosen = _named(servers, target)
    if chosen is None:
        return Refused((f"{target} is no member of the cluster",))
    reasons = [*_unfit(chosen, primary)]
    if chosen.holds_data:
        reasons += _not_running(chosen, primary)
        if more := beyond(chosen.history, primary.history):
            reasons.append(
                f"{target} has transactions that {primary.name} has not: {', '.join(more)}"
            )
    if reasons:
        return Refused(tuple(reasons))
    before = (
        Step(Action(primary.name, "read_only"), undo=Action(primary.name, "writable")),
        Step(Action(target, "catch_up", primary.name)),
        Step(Action(target, "stop_receiving"), undo=Action(target, "start")),
        Step(Action(target, "forget"), undo=Action(target, "replicate", primary.name)),
    )
    followers = [primary, *_others(servers, primary, chosen)]
    return _plan(target, before, followers)


def failover(
    servers: Sequence[Server],
    dead: str,
    target: str | None = None,
    *,
    fenced: bool = False,
    force: bool = False,
) -> Plan | Refused:
    """From a primary that does not answer. It must be fenced: who only seems dead still writes."""
    lost = _named(servers, dead)
    reasons: list[str] = []
    if lost is None:
        return Refused((f"{dead} is no member of the cluster",))
    if lost.problem is None:
        reasons.append(f"{dead} answers: use a switchover")
    elif not (fenced or force):
        reasons.append(
            f"{dead} does not answer, but it may still write for others: stop its host or its "
            "server for certain, or force the failover"
        )
    writable = [one for one in servers if one.holds_data and not one.read_only]
    reasons += [f"{one.name} is writable: it is the primary already" for one in writable]
    holders = [one for one in servers if one.holds_data and one is not lost]
    silent = [one for one in servers if one.problem is not None and one is not lost]
    if not force:
        # It may have acknowledged what nobody else has.
        reasons += [
            f"{one.name} does not answer either, and may have more than the others: {one.problem}"
            for one in silent
        ]
    if not holders:
        reasons.append("no server with data answers: restore a backup")
    if reasons:
        return Refused(tuple(reasons))
    chosen = _most_advanced(holders, target)
    if isinstance(chosen, Refused):
        return chosen
    if problems := (*_unfit(chosen, None), *_cannot_apply(chosen)):
        return Refused(problems)
    receiving = [one for one in holders if one.replication and one.replication.receiving]
    before = (
        *(
            Step(Action(one.name, "stop_receiving"), undo=Action(one.name, "start"))
            for one in receiving
        ),
        Step(Action(chosen.name, "apply_received")),
        *(
            (Step(Action(chosen.name, "forget"), undo=Action(chosen.name, "replicate", dead)),)
            if chosen.replication is not None
            else ()
        ),
    )
    return _plan(chosen.name, before, _others(holders, lost, chosen))


def _plan(target: str, before: Iterable[Step], followers: Iterable[Server]) -> Plan:
    before = tuple(before)
    after = (Step(Action(one.name, "replicate", target)) for one in followers)
    return Plan(target, (*before, Step(Action(target, "writable")), *after), len(before))


def _named(servers: Iterable[Server], name: str) -> Server | None:
    return next((server for server in servers if server.name == name), None)


def _others(servers: Iterable[Server], *but: Server) -> list[Server]:
    """Those that are told to follow; who does not answer or has no data is left to the role."""
    return [one for one in servers if one.holds_data and one not in but]


def _unfit(server: Server, primary: Server | None) -> tuple[str, ...]:
    if server.problem is not None:
        return (f"{server.name} does not answer: {server.problem}",)
    if not server.holds_data:
        return (f"{server.name} has no data",)
    if primary is not None and (foreign := foreign_data(server, primary)) is not None:
        return (foreign,)
    return ()


def _not_running(server: Server, primary: Server) -> tuple[str, ...]:
    replication = server.replication
    if replication is None or not replicates_from(server, primary):
        return (f"{server.name} does not replicate from {primary.name}",)
    if not replication.runs:
        return (f"replication on {server.name} does not run: {replication.error or 'stopped'}",)
    return ()


def _cannot_apply(server: Server) -> tuple[str, ...]:
    """What a replica received and never applies is lost with its promotion."""
    replication = server.replication
    if replication is None or not beyond(server.received, server.history) or replication.applying:
        return ()
    return (
        f"{server.name} has received transactions that it does not apply "
        f"({replication.error or 'its thread is stopped'}): mend that first",
    )


def _most_advanced(holders: Sequence[Server], target: str | None) -> Server | Refused:
    """The one that has received all that any of them has; by name, where they are equal."""
    candidates = [one for one in holders if target in (None, one.name)]
    if not candidates:
        return Refused((f"{target} does not answer, or has no data",))
    lacking = {
        one.name: [more for other in holders for more in beyond(other.received, one.received)]
        for one in candidates
    }
    complete = [one for one in candidates if not lacking[one.name]]
    if complete:
        return min(complete, key=lambda one: one.name)
    return Refused(
        tuple(
            f"{name} lacks transactions that others have: {', '.join(dict.fromkeys(more))}"
            for name, more in sorted(lacking.items())
        )
    )
