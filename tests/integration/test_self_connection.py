"""A port that nobody listens at: the kernel may connect a client to itself there.

TCP allows two ends to connect to each other at once, and a client that gets the very port it
connects to for its own meets itself. In a network namespace with one such port it always does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / "module_utils"
PORT = 40_000
ALONE = f"""
import fcntl, socket, struct, sys
from pathlib import Path
from selvage import checks
from selvage.registry import ensemble

with socket.socket() as any_socket:
    # SIOCSIFFLAGS: the loopback interface is IFF_UP and IFF_RUNNING.
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("{PORT} {PORT}")
itself = socket.create_connection(("127.0.0.1", {PORT}), 10)
assert itself.getsockname() == itself.getpeername(), "it does not happen here"
# Closed with a reset, it leaves the port at once.
itself.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
itself.close()
member = ensemble.Member(1, "zk1", "127.0.0.1")
print(eval(sys.argv[1]))
"""


@pytest.mark.parametrize(
    "check",
    [
        f"checks.tcp('127.0.0.1', {PORT}, 10).detail",
        f"checks.http('127.0.0.1', {PORT}, '/', 10).detail",
        f"checks.redis('127.0.0.1', {PORT}, 10).detail",
        f"checks.mysql('127.0.0.1', {PORT}, 10).detail",
        f"ensemble.look([member], {PORT}, 10)[0].problem",
    ],
    ids=["tcp", "http", "redis", "mysql", "ensemble"],
)
def test_a_closed_port_is_refused(check: str) -> None:
    apart = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    ended = subprocess.run(
        [*apart, sys.executable, "-c", ALONE, check],
        env=os.environ | {"PYTHONPATH": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.removeprefix("does not answer: ") == "Connection refused\n"
