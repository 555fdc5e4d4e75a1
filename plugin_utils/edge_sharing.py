"""The addresses that the edges of a fabric share: what is wrong with them, and what they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from plugin_utils.edge_address import MOST_MEMBERS, place_problems
from plugin_utils.settings import Problem, Values

# Each is asked every second.
WITNESSES = 5
# What differs between edges of one address would be two addresses, or two holders.
AGREED = ("edge_address_shared", "edge_address_interval", "edge_address_back_after")


def tier_problems(tiers: Mapping[str, set[str]], values: Mapping[str, Values]) -> list[Problem]:
    """What is wrong with the addresses that a fabric's edges share."""
    sharing = sorted(tiers["edge_address"])
    found = [
        (
            host,
            "edge_address_shared: only hosts of the group"
            f" {mine['fabric_edge_group']} share addresses, and this is none",
        )
        for host, mine in values.items()
        if mine["edge_address_shared"] and host not in tiers["edge"]
    ]
    hosts = {host: mine["fabric_address"] for host, mine in values.items()}
    for host in sharing:
        found += [
            (host, text) for text in place_problems(values[host]["edge_address_shared"], hosts)
        ]
    found += [
        (host, "edge_address_shared: this edge has no Nginx that could answer there: nginx_sites")
        for host in sharing
        if not values[host]["nginx_sites"]
    ]
    for name in AGREED:
        said = {str(values[host][name]): host for host in sharing}
        if len(said) > 1:
            (one, first), (other, second) = sorted(said.items())[:2]
            text = f"{name}: {one} for {first}, {other} for {second}; set it for all edges"
            found += [(host, text) for host in sharing]
    if sharing and not 2 <= len(sharing) <= MOST_MEMBERS:
        expected = f"expected 2 to {MOST_MEMBERS} edges that share, got {len(sharing)}"
        found += [(host, f"edge_address_shared: {expected}") for host in sharing]
    return found


def rules(own: str, members: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The firewall's rule for VRRP from the other members, where this host is one."""
    addresses = [member["address"] for member in members]
    if own not in addresses:
        return []
    others = [address for address in addresses if address != own]
    return [{"name": "VRRP of the other edges", "protocol": "vrrp", "from": others}]


def witnesses(
    members: Sequence[Mapping[str, Any]], first: Collection[str], sharing: Collection[str]
) -> list[str]:
    """Some hosts by which an edge knows that it is not cut off, those of `first` before others."""
    others = [member for member in members if member["name"] not in sharing]
    others.sort(key=lambda member: (member["name"] not in first, member["name"]))
    return [member["address"] for member in others[:WITNESSES]]
