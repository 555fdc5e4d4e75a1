"""How another server becomes the primary: a planned switchover, and a failover, as steps.

A plan is data: who carries it out does one step after the other. Before the point of no return each
step that changed something can be undone; after it nothing is undone, and what is left is what the
servers need anyway. So an interrupted run is finished by a plan made anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from .cluster import foreign_data, need, replicates_from, two_writers
from .gtid import beyond
from .servers import Server, together


@dataclass(frozen=True)
class Action:
    """One thing to tell a server."""

    server: str
    # read_only, writable, stop_receiving, start, catch_up (with `other`), apply_received, forget,
    # follow (`other`)
    do: str
    other: str = ""


WORDS = {
    "read_only": "{server} stops to write",
    "writable": "{server} writes",
    "stop_receiving": "{server} receives nothing more",
    "start": "{server} replicates on",
    "catch_up": "{server} applies all that {other} has",
    "apply_received": "{server} applies all that it has received",
    "forget": "{server} is nobody's replica any more",
    "follow": "{server} becomes a replica of {other}",
}


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
    # Who writes until then: the steps up to the point of no return are a matter of milliseconds,
    # and carried out by both servers' hosts together (handover.py).
    giver: str | None = None
    # Who is left to an operator or to the role, and why.
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """Why nothing is done; each reason is one line."""

    reasons: tuple[str, ...]


def switchover(
    servers: Sequence[Server], target: str, *, harmless: Collection[str] = ()
) -> Plan | Refused:
    """From a primary that lives. Writes stop first: there are never two writers.

    Where a former run ended midway nobody writes, or not all follow: this finishes it. Who is known
    to be `harmless`, which does not write whatever it is, may then be silent.
    """
    chosen = named(servers, target)
    if chosen is None:
        return Refused((f"{target} is no member of the cluster",))
    writable = [one for one in servers if one.holds_data and not one.read_only]
    if len(writable) > 1:
        return Refused((two_writers(writable),))
    if not writable:
        return _from_rest(servers, chosen, harmless)
    (primary,) = writable
    if primary.replication is not None:
        return Refused(
            (f"{primary.name} is writable and replicates from {primary.replication.source}",)
        )
    if primary is chosen:
        return finish(servers, primary)
    reasons = [*unfit(chosen, primary)]
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
        Step(Action(target, "forget"), undo=Action(target, "follow", primary.name)),
        Step(Action(primary.name, "follow", target), undo=Action(primary.name, "forget")),
    )
    others, left = _followers(servers, primary, but=(primary, chosen))
    return plan(target, before, others, giver=primary.name, left=left)


def _from_rest(
    servers: Sequence[Server], chosen: Server, harmless: Collection[str]
) -> Plan | Refused:
    """Nobody writes: whoever has all that anybody has may begin to."""
    holders = [one for one in servers if one.holds_data]
    reasons = [*unfit(chosen, None)]
    reasons += [
        f"no member is writable, and {one.name}, which may be the primary, does not answer: "
        f"{one.problem}; start it, or see mysql_failover.yml"
        for one in servers
        if one.problem is not None and one is not chosen and one.name not in harmless
    ]
    for one in holders:
        if (foreign := foreign_data(one, chosen)) is not None:
            reasons.append(foreign)
    if reasons:
        return Refused(tuple(reasons))
    everything = reduce(together, (one.received for one in holders))
    steps = []
    if lacking := beyond(everything, chosen.history):
        sources = [
            one
            for one in holders
            if replicates_from(chosen, one) and not beyond(everything, one.history)
        ]
        replication = chosen.replication
        if replication is None or not sources or replication.error is not None:
            why = replication.error if replication and replication.error else "no source with them"
            return Refused(
                (f"{chosen.name} lacks transactions that others have, {', '.join(lacking)}: {why}",)
            )
        # Started twice does no harm.
        steps.append(Step(Action(chosen.name, "start")))
        steps.append(Step(Action(chosen.name, "catch_up", sources[0].name)))
    if chosen.replication is not None:
        # Where it has everything there is nothing to go back to.
        steps.append(Step(Action(chosen.name, "forget")))
    others = [one for one in holders if one is not chosen]
    return plan(chosen.name, steps, others)


def finish(servers: Sequence[Server], primary: Server) -> Plan:
    """Somebody writes: the others are to follow it."""
    others, left = _followers(servers, primary, but=(primary,))
    needs = {one.name: need(one, primary).action for one in others}
    steps = [
        Step(Action(name, "start") if action == "start" else Action(name, "follow", primary.name))
        for name, action in needs.items()
        if action != "keep"
    ]
    return Plan(primary.name, tuple(steps), 0, left=left)


def _followers(
    servers: Iterable[Server], primary: Server, but: tuple[Server, ...]
) -> tuple[list[Server], tuple[str, ...]]:
    """Who can follow, and why the others cannot."""
    needs = [(one, need(one, primary)) for one in servers if one not in but]
    return (
        [one for one, what in needs if what.action not in ("refuse", "seed")],
        tuple(what.reason for _, what in needs if what.action in ("refuse", "seed")),
    )


def plan(
    target: str,
    before: Iterable[Step],
    followers: Iterable[Server],
    giver: str | None = None,
    left: tuple[str, ...] = (),
) -> Plan:
    """What comes before, then the target writes, then others follow it."""
    before = tuple(before)
    after = (Step(Action(one.name, "follow", target)) for one in followers)
    steps = (*before, Step(Action(target, "writable")), *after)
    return Plan(target, steps, len(before), giver, left)


def named(servers: Iterable[Server], name: str) -> Server | None:
    """The member of that name."""
    return next((server for server in servers if server.name == name), None)


def unfit(server: Server, primary: Server | None) -> tuple[str, ...]:
    """Why it cannot be the primary of the cluster."""
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
