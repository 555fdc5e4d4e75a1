"""What a process takes, from /proc."""

from __future__ import annotations

import os
from pathlib import Path


def rss_mib(pid: int) -> float:
    """What it has in memory now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """The processor's time that it has had, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """How many it has open."""
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


def tcp_ports(pid: int) -> set[int]:
    """The local ports of its connections over IPv4."""
    own = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in own}
