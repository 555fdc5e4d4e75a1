"""Small pure functions for role schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

SSH = 22


def with_ssh_ports(
    nodes: Iterable[Mapping[str, Any]], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The nodes with `port`: where the firewall of role node lets ssh in, as the inventory has it.

    That is `ansible_port`, or `node_ssh_port` where they differ, because the operator's way leads
    through a forwarded port.
    """
    ports = []
    for node in nodes:
        host = hostvars[node["name"]]
        port = host.get("node_ssh_port") or host.get("ansible_port") or SSH
        ports.append({**node, "port": int(port)})
    return ports


def _known_as(address: str, port: int) -> str:
    """What known_hosts calls a host."""
    return address if port == SSH else f"[{address}]:{port}"


def schedule_targets(
    nodes: Sequence[Mapping[str, Any]],
    hostvars: Mapping[str, Mapping[str, Any]],
    known_hosts: str,
) -> list[dict[str, Any]]:
    """`{name, address, port, known_as, host_key}` of each node whose host key is known, in order.

    A key comes from the facts of the node, if this run gathered them over a connection that is
    already trusted, else from the known_hosts of an earlier run. So a run with `--limit` adds one
    node and keeps the others.
    """
    former = dict(line.split(" ", 1) for line in known_hosts.splitlines() if " " in line)
    targets = []
    for node in nodes:
        facts = hostvars[node["name"]].get("ansible_facts", {})
        port = int(node.get("port") or SSH)
        known_as = _known_as(node["address"], port)
        # An sshd that has moved to another port is the same one.
        key = former.get(known_as) or former.get(node["address"])
        if "ssh_host_key_ed25519_public" in facts:
            key = f"ssh-ed25519 {facts['ssh_host_key_ed25519_public']}"
        if key is not None:
            target = {"name": node["name"], "address": node["address"], "port": port}
            targets.append({**target, "known_as": known_as, "host_key": key})
    return targets


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"schedule_targets": schedule_targets, "with_ssh_ports": with_ssh_ports}
