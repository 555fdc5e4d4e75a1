"""For role mysql: what is wrong with its input, and what the answers of servers ask for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils import mysql_accounts
from plugin_utils.rules import parse_address

from selvage.mysql import cluster, failover, flavours, gtid, promotion, servers

PORT = 3306


def mysql_problems(
    members: Sequence[Mapping[str, Any]], first: str, firsts: Iterable[str]
) -> list[str]:
    """What is wrong with the role's members, a line for each.

    `firsts` is what each host of the run has as `first`.
    """
    problems = []
    for key in ("name", "address", "id"):
        values = [str(member[key]).lower() for member in members]
        twice = sorted({value for value in values if values.count(value) > 1})
        problems += [f"mysql_members: {key} {value} is there twice" for value in twice]
    for member in members:
        place = f"mysql_members, {member['name']}"
        if not 1 <= int(member["id"]) <= 2**32 - 1:
            problems.append(f"{place}: id {member['id']} is not from 1 to {2**32 - 1}")
        try:
            parse_address(member["address"])
        except ValueError as error:
            problems.append(f"{place}: {error}")
    if first not in [member["name"] for member in members]:
        problems.append(f"mysql_first_primary: {first} is not among mysql_members")
    if len(named := sorted({first, *firsts})) > 1:
        problems.append(
            f"mysql_first_primary: {' and '.join(named)}, by host: a cluster begins with one, so "
            "name it once for all hosts"
        )
    return problems


def mysql_answers(
    members: Iterable[Mapping[str, Any]],
    hosts: Iterable[str],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """What the hosts of this run registered as `__mysql_own`, each with its member as `item`."""
    asked = set(hosts)
    return [
        {"item": member, "said": hostvars[member["name"]]["__mysql_own"]["said"]}
        for member in members
        if member["name"] in asked
    ]


def mysql_cluster(looks: Iterable[Mapping[str, Any]], first: str) -> dict[str, Any]:
    """What is to be done, by the results of `mysql_look` with a member as `item`; the last counts.

    `refusals` are those of the whole cluster. Whoever does not answer is `silent`, and with a
    cluster that is `waiting` there is no primary for that alone: both may pass with a start.
    """
    members = _members(looks)
    found = cluster.find_primary([*members.values()], first)
    silent = [server.name for server in members.values() if server.problem is not None]
    result: dict[str, Any] = {
        **{"primary": None, "resting": False, "new": False, "needs": {}},
        **{"refusals": [], "silent": silent, "waiting": False},
    }
    if isinstance(found, cluster.New):
        needs = {
            name: vars(cluster.Need("seed", f"{name} has no data"))
            for name in members
            if name != found.first
        }
        return {**result, "primary": found.first, "new": True, "needs": needs}
    if isinstance(found, cluster.Unclear):
        holders = [server for server in members.values() if server.holds_data]
        strangers = {
            server.name: {"action": "refuse", "reason": cluster.unknown_data(server)}
            for server in holders
            if server.cluster is None
        }
        waiting = bool(silent) and all(server.read_only for server in holders)
        return {**result, "refusals": [*found.reasons], "needs": strangers, "waiting": waiting}
    needs = {
        server.name: vars(cluster.need(server, found.server))
        for server in members.values()
        if server is not found.server
    }
    return {**result, "primary": found.server.name, "resting": found.resting, "needs": needs}


def _members(looks: Iterable[Mapping[str, Any]]) -> dict[str, servers.Server]:
    """By the results of `mysql_look` with a member as `item`; the last counts."""
    return {look["item"]["name"]: _server(look) for look in looks}


def mysql_switchover(
    looks: Sequence[Mapping[str, Any]], target: str, former: str = ""
) -> dict[str, Any]:
    """The plan of a switchover. With a `former` primary, of one that was broken off a moment ago.

    Then that one is the target, unless the other one has become primary; which must have answered:
    else nobody knows whether it writes. The others have never been told to.
    """
    members = _members(looks)
    if former:
        primaries = [one.name for one in members.values() if one.holds_data and not one.read_only]
        wanted = target if target in primaries else former
        harmless = {*members} - {target}
        plan = promotion.switchover([*members.values()], wanted, harmless=harmless)
    else:
        plan = promotion.switchover([*members.values()], target)
    return _told(plan, members)


def mysql_failover(
    looks: Sequence[Mapping[str, Any]], target: str, host: str, force: object
) -> dict[str, Any]:
    """The plan of a failover; without a target the most advanced replica is it."""
    members = _members(looks)
    forced = str(force).lower() in ("true", "yes", "1")
    plan = failover.failover([*members.values()], target or None, host=host, force=forced)
    return _told(plan, members)


def mysql_lost(looks: Sequence[Mapping[str, Any]]) -> str:
    """The name of the primary that does not answer, if that is clear."""
    lost = failover.lost_primary([*_members(looks).values()])
    return lost if isinstance(lost, str) else ""


def _told(
    plan: promotion.Plan | promotion.Refused, members: Mapping[str, servers.Server]
) -> dict[str, Any]:
    """A plan for tasks: each step with what `mysql_step` asks for, and in words."""
    if isinstance(plan, promotion.Refused):
        return {"refused": [*plan.reasons], "steps": [], "left": [], "giver": None, "target": None}

    def told(action: promotion.Action) -> dict[str, Any]:
        words = promotion.WORDS[action.do].format(**vars(action))
        found = vars(action) | {"words": words, "position": ""}
        if action.do == "catch_up":
            found["position"] = members[action.other].received.position()
        return found

    steps = [told(step.action) for step in plan.steps]
    return {
        **{"refused": [], "target": plan.target, "giver": plan.giver, "left": [*plan.left]},
        **{"steps": steps, "no_return": plan.no_return},
    }


def _server(look: Mapping[str, Any]) -> servers.Server:
    """The member that a result is of."""
    member = look["item"]
    said = look.get("said") or {
        "problem": str(look.get("msg", "its host does not answer")),
        "data": True,
        "seeding": False,
    }
    return servers.parse(member["name"], member["address"], PORT, said)


def mysql_strangers(looks: Iterable[Mapping[str, Any]], flavour: str) -> list[str]:
    """Who has data of the other flavour, a line for each; also one that does not run."""
    titles = {each.name: each.title for each in flavours.ALL}
    found = {look["item"]["name"]: look.get("said", {}).get("flavour") for look in looks}
    return [
        f"{name} has data of {titles[its]}, and mysql_flavour is {flavour}: set it to {its}, or "
        "save what you need and move the data away"
        for name, its in found.items()
        if its not in (None, flavour)
    ]


def mysql_silent(looks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Who of them does not answer, and why."""
    found = [_server(look) for look in looks]
    return [f"{each.name}: {each.problem}" for each in found if each.problem is not None]


def mysql_restarts(
    members: Iterable[Mapping[str, Any]],
    primary: str | None,
    hosts: Iterable[str],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Who of this run's hosts runs with other settings than it has, the primary last."""
    asked = set(hosts)
    names = [member["name"] for member in members if member["name"] in asked]
    outdated = [name for name in names if _outdated(hostvars[name])]
    return sorted(outdated, key=lambda name: name == primary)


def _outdated(facts: Mapping[str, Any]) -> bool:
    """By what a host's tasks found: checksums of what runs; in check mode what would be written."""
    current = facts["__mysql_current"].get("rc")
    started = facts["__mysql_start"].get("changed", False)
    if current is None or started or facts["__mysql_seeding"]["stat"]["exists"]:
        return False
    results = [facts[f"__mysql_{name}"] for name in ("settings", "unit")]
    return current != 0 or any(result.get("changed", False) for result in results)


def mysql_seeded_state(said: Mapping[str, Any], position: str) -> str:
    """`gtid_binlog_state` for a server seeded at the position, by what its source said before."""
    variables = said["variables"]
    known = gtid.mariadb(variables["gtid_binlog_state"], variables["gtid_slave_pos"])
    return gtid.seeded_state(known, position)


def mysql_replicates(said: Mapping[str, Any]) -> bool:
    """Whether both threads of a replica run; how far behind is not asked."""
    replication = servers.parse("", "", PORT, said).replication
    return replication is not None and replication.runs


def mysql_settled(said: Mapping[str, Any]) -> bool:
    """Whether a server that was restarted answers, and a replica replicates, or says why not."""
    server = servers.parse("", "", PORT, said)
    replication = server.replication
    return server.problem is None and (
        replication is None
        or replication.runs
        or replication.error is not None
        or replication.no_entry is not None
    )


class FilterModule:
    """Tells Ansible which filters are here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Their names."""
        return {
            "mysql_answers": mysql_answers,
            "mysql_application_accounts": mysql_accounts.application_accounts,
            "mysql_cluster": mysql_cluster,
            "mysql_failover": mysql_failover,
            "mysql_lost": mysql_lost,
            "mysql_own_accounts": mysql_accounts.own_accounts,
            "mysql_password_problems": mysql_accounts.password_problems,
            "mysql_problems": mysql_problems,
            "mysql_replicates": mysql_replicates,
            "mysql_restarts": mysql_restarts,
            "mysql_seeded_state": mysql_seeded_state,
            "mysql_switchover": mysql_switchover,
            "mysql_settled": mysql_settled,
            "mysql_silent": mysql_silent,
            "mysql_strangers": mysql_strangers,
        }
