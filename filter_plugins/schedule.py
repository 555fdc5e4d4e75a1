"""Small pure functions for role schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def schedule_targets(
    nodes: Sequence[Mapping[str, str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    known_hosts: str,
) -> list[dict[str, str]]:
    """`{name, address, host_key}` of each node whose ssh host key is known, in order.

    A key comes from the facts of the node, if this run gathered them over a connection that is
    already trusted, else from the known_hosts of an earlier run. So a run with `--limit` adds one
    node and keeps the others.
    """
    former = dict(line.split(" ", 1) for line in known_hosts.splitlines() if " " in line)
    targets = []
    for node in nodes:
        facts = hostvars[node["name"]].get("ansible_facts", {})
        key = former.get(node["address"])
        if "ssh_host_key_ed25519_public" in facts:
            key = f"ssh-ed25519 {facts['ssh_host_key_ed25519_public']}"
        if key is not None:
            targets.append({"name": node["name"], "address": node["address"], "host_key": key})
    return targets


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"schedule_targets": schedule_targets}
