"""Small pure functions for the playbooks: from inventory hosts to what the roles take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def fabric_nodes(hosts: Iterable[Mapping[str, Any]], id: str | None = None) -> list[dict[str, Any]]:
    """`{name, address}` of each host, in order; with `id` also that host variable, as `id`.

    Takes the hosts' variables. Raises AnsibleFilterError naming the host that lacks the variable.
    """
    nodes = []
    for host in hosts:
        node = {"name": host["inventory_hostname"], "address": host["fabric_address"]}
        if id is not None:
            if id not in host:
                raise AnsibleFilterError(f"{node['name']}: set {id} in the inventory")
            node["id"] = int(host[id])
        nodes.append(node)
    return nodes


def instance_rules(instances: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The firewall rules that open announced instances to the members of the fabric."""
    return [
        {"name": instance["service"], "port": int(instance["port"]), "from": "fabric"}
        for instance in instances
    ]


def in_zone(instances: Iterable[Mapping[str, Any]], zone: str) -> list[dict[str, Any]]:
    """The instances, with the label `zone` where they set none; an empty zone is none."""
    labels = {"zone": zone} if zone else {}
    return [
        {**instance, "labels": labels | (instance.get("labels") or {})} for instance in instances
    ]


def subscription_problems(hosts: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the hosts' `haproxy_services`, one line each; empty when nothing is.

    Takes the hosts' variables; `fabric_services` is each host's own catalogue.
    """
    problems = []
    for host in hosts:
        place = f"{host['inventory_hostname']}: haproxy_services"
        names, known = host["haproxy_services"], [s["name"] for s in host["fabric_services"]]
        if not isinstance(names, list):
            problems.append(f"{place}: expected a list of names, got {names!r:.80}")
            continue
        problems += [
            f"{place}: {name!r:.80} is not in fabric_services,"
            f" which has: {', '.join(known) or 'nothing'}"
            for name in names
            if name not in known
        ]
    return problems


def maintenance_problem(request: Mapping[str, Any], services: Iterable[Mapping[str, Any]]) -> str:
    """What is wrong with the input of playbooks/maintenance.yml, in one line; empty if nothing.

    The nodes judge it as well, and more closely, each for itself.
    """
    known = [service["name"] for service in services]
    for name, pattern, expected in (
        ("service", "|".join(map(re.escape, known)), f"one of {', '.join(known)}"),
        (
            "server",
            r"(\[[0-9A-Fa-f:.]+\]|[0-9]+(\.[0-9]+){3}):[0-9]+",
            "ADDRESS:PORT, such as 198.18.0.21:8080",
        ),
        ("state", "maint|ready", "maint or ready"),
        ("reason", ".{1,200}", "one line for whoever comes next"),
        ("for", "[0-9]+(ms|s|m|h)", "a duration, such as 2h"),
    ):
        value = str(request[name])
        needed = name not in ("reason", "for") or request["state"] != "ready"
        if needed and re.fullmatch(pattern, value) is None:
            return f"-e {name}=: expected {expected}, got {value!r:.80}"
    return ""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "fabric_nodes": fabric_nodes,
            "in_zone": in_zone,
            "instance_rules": instance_rules,
            "maintenance_problem": maintenance_problem,
            "subscription_problems": subscription_problems,
        }
