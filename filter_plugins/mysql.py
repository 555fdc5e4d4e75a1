"""For role mysql: what is wrong with its input, and what the answers of servers ask for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils.rules import parse_address

from selvage.mysql import cluster, gtid, servers

PORT = 3306
# Of MASTER_PASSWORD in MySQL: 32 characters.
PASSWORD = re.compile(r"[A-Za-z0-9_.:,+/=@%^~-]{16,32}")


def mysql_problems(
    members: Sequence[Mapping[str, Any]], first: str, passwords: Mapping[str, object]
) -> list[str]:
    """What is wrong with the role's input, a line for each; no line holds a password."""
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
    for name, password in passwords.items():
        if not isinstance(password, str) or not PASSWORD.fullmatch(password):
            problems.append(
                f"{name}: 16 to 32 letters, digits and _.:,+/=@%^~- (what it is, is not shown)"
            )
        elif password in [other for key, other in passwords.items() if key < name]:
            problems.append(f"{name}: another account has the same password")
    return problems


def mysql_cluster(
    looks: Iterable[Mapping[str, Any]], first: str, *, starting: bool = False
) -> dict[str, Any]:
    """What is to be done, by the results of `mysql_look` with a member as `item`; the last counts.

    While servers are `starting`, one that does not answer is no reason to refuse yet.
    """
    members: dict[str, servers.Server] = {}
    for look in looks:
        member = look["item"]
        said = look.get("said") or {
            "problem": str(look.get("msg", "its host does not answer")),
            "data": True,
            "seeding": False,
        }
        members[member["name"]] = servers.parse(member["name"], member["address"], PORT, said)
    found = cluster.find_primary([*members.values()], first)
    result: dict[str, Any] = {"primary": None, "resting": False, "new": False, "needs": {}}
    refusals: list[str] = []
    if isinstance(found, cluster.New):
        result |= {"primary": found.first, "new": True}
    elif isinstance(found, cluster.Primary):
        result |= {"primary": found.server.name, "resting": found.resting}
        for name, server in members.items():
            if server is found.server:
                continue
            need = cluster.need(server, found.server)
            result["needs"][name] = {"action": need.action, "reason": need.reason}
            if need.action == "refuse" and not (starting and server.problem is not None):
                refusals.append(need.reason)
    elif not (starting and any(server.problem is not None for server in members.values())):
        refusals += found.reasons
    return {**result, "refusals": refusals}


def mysql_seeded_state(said: Mapping[str, Any], position: str) -> str:
    """`gtid_binlog_state` for a server seeded at the position, by what its source said before."""
    variables = said["variables"]
    known = gtid.mariadb(variables["gtid_binlog_state"], variables["gtid_slave_pos"])
    return gtid.seeded_state(known, position)


def mysql_replicates(said: Mapping[str, Any]) -> bool:
    """Whether both threads of a replica run; how far behind is not asked."""
    replication = servers.parse("", "", PORT, said).replication
    return replication is not None and replication.runs


class FilterModule:
    """Tells Ansible which filters are here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Their names."""
        return {
            "mysql_cluster": mysql_cluster,
            "mysql_problems": mysql_problems,
            "mysql_replicates": mysql_replicates,
            "mysql_seeded_state": mysql_seeded_state,
        }
