"""Bridge, masquerading and name resolution of one lab."""

from __future__ import annotations

from pathlib import Path

from common import LabError, run, succeeds
from spec import Lab


def set_up_network(lab: Lab) -> bool:
    """Bridge, address and masquerading; returns whether anything changed."""
    changed = False
    if not Path(f"/sys/class/net/{lab.bridge}").exists():
        run("ip", "link", "add", lab.bridge, "type", "bridge")
        changed = True
    run("ip", "address", "replace", f"{lab.gateway}/24", "dev", lab.bridge)
    run("ip", "link", "set", lab.bridge, "up")
    if not succeeds("nft", "list", "table", "ip", lab.table):
        rules = (
            f"table ip {lab.table} {{\n"
            "chain postrouting {\n"
            "type nat hook postrouting priority srcnat;\n"
            f"ip saddr {lab.subnet} ip daddr != {lab.subnet} masquerade\n"
            "}\n}\n"
        )
        run("nft", "-f", "-", stdin=rules)
        changed = True
    return changed


def tear_down_network(lab: Lab) -> None:
    """Remove the lab's table and bridge."""
    if succeeds("nft", "list", "table", "ip", lab.table):
        run("nft", "delete", "table", "ip", lab.table)
    if Path(f"/sys/class/net/{lab.bridge}").exists():
        run("ip", "link", "delete", lab.bridge)


def resolvers() -> str:
    """A resolv.conf that the hosts can use: no loopback address, which would be their own."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            lines = Path(path).read_text().splitlines()
        except FileNotFoundError:
            continue
        servers = [line.split()[1] for line in lines if line.startswith("nameserver ")]
        reachable = [server for server in servers if not server.startswith(("127.", "::1"))]
        if reachable:
            return "".join(f"nameserver {server}\n" for server in reachable)
    raise LabError("/etc/resolv.conf names no resolver beyond loopback: the hosts need one")
