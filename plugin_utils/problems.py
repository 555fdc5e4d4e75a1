"""What is wrong with the hosts of a fabric, where each setting for itself is right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plugin_utils import data_tiers, edge_tier
from plugin_utils.settings import Problem, Values, bound
from selvage.registrar.settings import NODE

ZOOKEEPER_PORTS = (2181, 2888, 3888)


def name_problems(members: Sequence[str]) -> list[Problem]:
    """What no file takes as a host's name, or does not tell from another one's."""
    problems = [
        (
            repr(host),
            "a host's name in the inventory has letters, digits, dots, - and _, and begins with a"
            " letter or digit: rename it",
        )
        for host in members
        if re.fullmatch(NODE, host) is None
    ]
    first: dict[str, str] = {}
    for host in members:
        other = first.setdefault(host.lower(), host)
        if other != host:
            text = f"its name and {other} differ by capitals alone, which nobody heeds: rename it"
            problems.append((host, text))
    return problems


def address_problems(values: Mapping[str, Values]) -> list[Problem]:
    """Addresses that two hosts have."""
    first: dict[str, str] = {}
    return [
        (host, f"fabric_address: {other} has {mine['fabric_address']} too")
        for host, mine in values.items()
        if mine["fabric_address"] is not None
        and (other := first.setdefault(mine["fabric_address"], host)) != host
    ]


def host_problems(values: Values, tiers: set[str]) -> list[str]:
    """What each setting for itself does not show."""
    problems = []
    sidecar = tiers & {"services", "edge"}
    known = [service["name"] for service in values["fabric_services"] or []]
    if sidecar and values["fabric_services"] is None:
        problems.append("fabric_services: set the catalogue; an empty list is one without services")
    instances = values["fabric_instances"]
    named = [("haproxy_services", name) for name in values["haproxy_services"] or []]
    named += [("fabric_instances", instance["service"]) for instance in instances]
    if sidecar and values["fabric_services"] is not None:
        problems += [
            f"{place}: {name!r:.80} is not in fabric_services,"
            f" which has: {', '.join(sorted(known)) or 'nothing'}"
            for place, name in named
            if name not in known
        ]
    if instances and "services" not in tiers:
        problems.append(
            f"fabric_instances: nothing announces them here; only the hosts of the group"
            f" {values['fabric_services_group']} announce instances"
        )
    if values["celery_applications"] is not None and "services" not in tiers:
        problems.append(
            f"celery_applications: nobody runs them here; only the hosts of the group"
            f" {values['fabric_services_group']} run applications"
        )
    problems += edge_tier.edge_problems(values, tiers, subscriptions(values))
    return problems + _port_problems(values, tiers)


def _port_problems(values: Values, tiers: set[str]) -> list[str]:
    """Ports that two programs of one host would listen on.

    An instance may be on one address alone, but mostly is on all, the sidecar's 127.0.0.1 too.
    """
    taken = dict.fromkeys(ZOOKEEPER_PORTS if "zookeeper" in tiers else (), "ZooKeeper")
    problems = []

    def need(place: str, name: str, port: int, owner: str) -> None:
        if port in taken:
            problems.append(
                f"{place}: {name} has port {port}, which {taken[port]} needs on this host"
            )
        elif owner:
            taken[port] = owner

    if tiers & {"services", "edge"}:
        page = "HAProxy's statistics page"
        need("haproxy_stats_bind", page, bound(values["haproxy_stats_bind"]), page)
        for service in subscriptions(values):
            name = service["name"]
            need("fabric_services", name, int(service["port"]), f"the sidecar for {name}")
    for port, name in edge_tier.ports(tiers, values).items():
        need("nginx_sites" if name == "Nginx" else "nginx_status_port", name, port, name)
    # Those listen on one address, the sidecar on another.
    taken |= data_tiers.ports(tiers, values)
    for instance in values["fabric_instances"]:
        need("fabric_instances", instance["service"], int(instance["port"]), "")
    return problems


def subscriptions(values: Values) -> list[dict[str, Any]]:
    """The part of the catalogue that a host carries: all of it, unless it names some."""
    names = values["haproxy_services"]
    services: list[dict[str, Any]] = values["fabric_services"] or []
    return [service for service in services if names is None or service["name"] in names]


def lines(problems: Iterable[Problem]) -> list[str]:
    """One line for what is wrong with several hosts in the same way."""
    hosts: dict[str, list[str]] = {}
    for host, text in sorted(problems):
        hosts.setdefault(text, []).append(host)
    return [
        f"{', '.join(some[:3])}{f' and {len(some) - 3} more' if some[3:] else ''}: {text}"
        for text, some in hosts.items()
    ]
