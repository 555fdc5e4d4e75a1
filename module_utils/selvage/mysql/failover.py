"""How a replica becomes the primary when that one is dead, as steps like those of a switchover."""

from __future__ import annotations

from collections.abc import Sequence

from .cluster import foreign_data, replicates_from, two_writers
from .gtid import beyond
from .promotion import Action, Plan, Refused, Step, finish, plan, unfit
from .servers import Server


def lost_primary(servers: Sequence[Server]) -> str | Refused:
    """Who is primary for the others, and does not answer."""
    silent = [one for one in servers if one.problem is not None]
    followed = [
        one for one in silent if any(replicates_from(each, one) for each in servers)
    ] or silent
    if len(followed) == 1:
        return followed[0].name
    if not silent:
        return Refused(
            (
                "all members answer: let the primary write again by playbooks/mysql.yml, or "
                "promote another one by playbooks/mysql_switchover.yml",
            )
        )
    names = " and ".join(one.name for one in followed)
    return Refused((f"{names} do not answer, and each could be the primary: repair one first",))


# What is known of the lost primary's host.
STOPPED, RUNS, UNREACHABLE = "stopped", "runs", "unreachable"


def failover(
    servers: Sequence[Server],
    target: str | None = None,
    *,
    host: str,
    force: bool = False,
) -> Plan | Refused:
    """From a primary that does not answer. It must be fenced: who only seems dead still writes.

    `force` stands for what nobody can know: that an unreachable host does not write, and that other
    silent members have nothing that is not on the chosen one.
    """
    writable = [one for one in servers if one.holds_data and not one.read_only]
    if len(writable) > 1:
        return Refused((two_writers(writable),))
    if writable and writable[0].replication is None:
        return finish(servers, writable[0])
    dead = lost_primary(servers)
    if isinstance(dead, Refused):
        return dead
    lost = next(one for one in servers if one.name == dead)
    reasons = [*_not_fenced(lost, host, force=force)]
    holders = [one for one in servers if one.holds_data]
    if not force:
        # It may have acknowledged what nobody else has.
        reasons += [
            f"{one.name} does not answer either, and may have more than the others: {one.problem}"
            for one in servers
            if one.problem is not None and one is not lost
        ]
    # Whatever its host looks like from here.
    reasons += [
        f"{one.name} still receives from {dead}: it lives, or died within the last seconds; then "
        "try again"
        for one in holders
        if one.replication and one.replication.connected and replicates_from(one, lost)
    ]
    reasons += [f"{one.name} is writable, and replicates" for one in writable]
    if not holders:
        reasons.append("no server with data answers: restore a backup")
    if reasons:
        return Refused(tuple(reasons))
    chosen = _most_advanced(holders, target)
    if isinstance(chosen, Refused):
        return chosen
    foreign = [text for one in holders if (text := foreign_data(one, chosen)) is not None]
    if problems := (*unfit(chosen, None), *_cannot_apply(chosen), *foreign):
        return Refused(problems)
    receiving = [one for one in holders if one.replication and one.replication.receiving]
    # There is nothing to go back to. What a failover leaves behind, the role or the next one mends.
    before = [
        *(Step(Action(one.name, "stop_receiving")) for one in receiving),
        Step(Action(chosen.name, "apply_received")),
    ]
    if chosen.replication is not None:
        before.append(Step(Action(chosen.name, "forget")))
    return plan(chosen.name, before, [one for one in holders if one is not chosen])


def _not_fenced(lost: Server, host: str, *, force: bool) -> tuple[str, ...]:
    if host == RUNS:
        return (
            f"{lost.name} does not answer, but its server still runs and may write for others: run "
            f"systemctl stop mariadb there (or kill it: systemctl kill -s KILL mariadb; systemctl "
            "stop mariadb)",
        )
    if host == UNREACHABLE and not force:
        return (
            f"{lost.name} cannot be reached, and may still write for others: cut it off from them "
            "for certain (power, network), then run again with -e mysql_failover_force=true",
        )
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
