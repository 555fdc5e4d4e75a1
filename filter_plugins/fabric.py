"""Small pure functions for the playbooks: from inventory hosts to what the roles take."""

from __future__ import annotations

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


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"fabric_nodes": fabric_nodes, "instance_rules": instance_rules}
