"""Small pure functions for role node: what is wrong with its input."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils.rules import check_closed, check_rules, parse_address, parse_network

from selvage.fields import Invalid


def _problem(place: str, check: Callable[[Any], object], value: object) -> Iterator[str]:
    """One line when the check raises ValueError, else nothing."""
    try:
        check(value)
    except ValueError as problem:
        yield f"{place}: {problem}"


def _member_problems(address: object, members: list[Mapping[str, str]]) -> Iterator[str]:
    yield from _problem("node_address", parse_address, address)
    for member in members:
        place = f"node_members, {member['name']}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", member["name"]):
            yield f"{place}: not a name of letters, digits, dots, - and _"
        yield from _problem(place, parse_address, member["address"])
    for key in ("name", "address"):
        # Whoever looks a name up does not distinguish capitals.
        values = [member[key].lower() for member in members]
        for value in sorted({value for value in values if values.count(value) > 1}):
            yield f"node_members: {key} {value} is there twice"
    if address not in [member["address"] for member in members]:
        yield f"node_members: this node's own address {address} is missing"


def comes_over_ssh(connection: str) -> bool:
    """Whether a connection plugin, by its name (`ansible_connection`), comes through sshd."""
    return "ssh" in connection or connection.rpartition(".")[2] in ("smart", "paramiko")


def _lockout_problems(node: Mapping[str, Any]) -> Iterator[str]:
    """Why the rules would keep out whoever runs this, judged by the ssh session they came over."""
    ssh_port = int(node["ssh_port"])
    ports = sorted(node["listening"])
    if node["session"]:
        client, _, server, port = node["session"].split()
        address = parse_address(client.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not any(mapped in parse_network(item) for item in node["control_addresses"]):
            yield (
                f"node_control_addresses leaves out {mapped}, from which this run comes: "
                "it would lock itself out; add it"
            )
        # From the node to itself any port is open, whatever the rules say.
        if client != server:
            ports = [int(port)]
            if ssh_port not in ports:
                yield (
                    f"node_ssh_port is {ssh_port}, but this run comes in on port {port}: "
                    f"it would lock itself out; set it to {port}"
                )
            return
    elif comes_over_ssh(node["connection"]):
        yield (
            "this run comes over ssh, but its session cannot be found among the node's processes, "
            "so nothing shows whether the firewall would let you in again: log in as root or use "
            "sudo, or set node_firewall_enabled to false"
        )
    if ports and ssh_port not in ports:
        yield f"node_ssh_port is {ssh_port}, where nothing listens: set it to sshd's port"


def node_problems(node: Mapping[str, Any]) -> list[str]:
    """What is wrong with the role's input, one line each; empty when nothing is.

    Takes `address`, `members`, `networks`, `control_addresses`, `allow`, `close`, `firewall`
    (whether it is on), `ssh_port`, and how this run reached the node: `connection` (the plugin's
    name), `session` (the words of SSH_CONNECTION, or nothing) and `listening` (the ports that are
    listened on; none where no sshd is).
    """
    problems = list(_member_problems(node["address"], node["members"]))
    for place in ("control_addresses", "networks"):
        for item in node[place]:
            problems += _problem(f"node_{place}", parse_network, item)
    for check, key in ((check_rules, "firewall_allow"), (check_closed, "firewall_close")):
        try:
            check(node[key.removeprefix("firewall_")], f"node_{key}")
        except Invalid as problem:
            problems.append(str(problem))
    if problems or not node["firewall"]:
        return problems
    if not node["control_addresses"]:
        return ["node_control_addresses is empty: nobody could reach ssh; name your own network"]
    try:
        return list(_lockout_problems(node))
    except ValueError as problem:
        return [f"the ssh session that this run comes over is not TCP: {problem}"]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"comes_over_ssh": comes_over_ssh, "node_problems": node_problems}
