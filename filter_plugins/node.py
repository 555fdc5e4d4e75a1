"""Small pure functions for role node: what is wrong with its input, and rules as nftables words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import Any

Rule = Mapping[str, Any]
FAMILIES = {4: "ip", 6: "ip6"}
# Who may connect, by name: the sets of the table, and everybody.
GROUPS = ("fabric", "control", "anywhere")


def _network(text: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(text))
    except ValueError as problem:
        raise ValueError(f"{text} is not an address or a network: {problem}") from None


def _address(text: object) -> IPv4Address | IPv6Address:
    try:
        return ip_address(str(text))
    except ValueError:
        raise ValueError(f"{text} is not an address") from None


def _problem(place: str, check: Callable[[Any], object], value: object) -> Iterator[str]:
    """One line when the check raises ValueError, else nothing."""
    try:
        check(value)
    except ValueError as problem:
        yield f"{place}: {problem}"


def networks(addresses: Iterable[str], version: int) -> list[str]:
    """The addresses and networks of one IP version, sorted, without those that others contain."""
    chosen = [network for network in map(_network, addresses) if network.version == version]
    collapsed: Iterable[Any] = collapse_addresses(chosen)
    return [str(net.network_address) if net.num_addresses == 1 else str(net) for net in collapsed]


def rule_ports(rule: Rule) -> list[int]:
    """The ports of one rule, sorted."""
    ports = [rule["port"]] if rule.get("port") is not None else rule.get("ports") or []
    return sorted({int(port) for port in ports})


def _sources(origin: str | list[str]) -> list[str]:
    """The source part of a rule, once per IP version."""
    if origin == "anywhere":
        return [""]
    if isinstance(origin, str):
        return [f"{word} saddr @{origin}{version} " for version, word in FAMILIES.items()]
    return [
        f"{word} saddr {{ {', '.join(networks(origin, version))} }} "
        for version, word in FAMILIES.items()
        if networks(origin, version)
    ]


def firewall_lines(rules: Iterable[Rule]) -> list[str]:
    """One nftables rule per line, in an order that does not depend on the input's."""
    return sorted(
        f"{source}{rule.get('protocol') or 'tcp'} dport "
        f'{{ {", ".join(map(str, rule_ports(rule)))} }} accept comment "{rule["name"]}"'
        for rule in rules
        for source in _sources(rule["from"])
    )


def _rule_problems(rule: Rule) -> Iterator[str]:
    place = f"node_firewall_allow, rule {rule['name']}"
    if not re.fullmatch(r"[ -~]{1,100}", rule["name"]) or set(rule["name"]) & {'"', "\\"}:
        yield f"{place}: a name has up to 100 plain characters, without quotation marks"
    if (rule.get("port") is None) == (not rule.get("ports")):
        yield f"{place}: give either port or ports"
    for port in rule_ports(rule):
        if not 0 < port < 65536:
            yield f"{place}: {port} is not a port"
    origin = rule["from"]
    if isinstance(origin, str):
        if origin not in GROUPS:
            yield f"{place}: from is {', '.join(GROUPS)} or a list of addresses, not {origin!r}"
    elif not isinstance(origin, list) or not origin:
        yield f"{place}: from is {', '.join(GROUPS)} or a list of addresses"
    else:
        for item in origin:
            yield from _problem(place, _network, item)


def _member_problems(address: object, members: list[Mapping[str, str]]) -> Iterator[str]:
    yield from _problem("node_address", _address, address)
    for member in members:
        place = f"node_members, {member['name']}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", member["name"]):
            yield f"{place}: not a name of letters, digits, dots, - and _"
        yield from _problem(place, _address, member["address"])
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
        address = _address(client.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not any(mapped in _network(item) for item in node["control_addresses"]):
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

    Takes `address`, `members`, `networks`, `control_addresses`, `allow`, `firewall` (whether it is
    on), `ssh_port`, and how this run reached the node: `connection` (the plugin's name), `session`
    (the words of SSH_CONNECTION, or nothing) and `listening` (the ports that are listened on; none
    where no sshd is).
    """
    problems = list(_member_problems(node["address"], node["members"]))
    for place in ("control_addresses", "networks"):
        for item in node[place]:
            problems += _problem(f"node_{place}", _network, item)
    for rule in node["allow"]:
        problems += _rule_problems(rule)
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
        return {
            "comes_over_ssh": comes_over_ssh,
            "firewall_lines": firewall_lines,
            "networks": networks,
            "node_problems": node_problems,
            "rule_ports": rule_ports,
        }
