"""Runs on an edge: a line whenever it gets or loses the address that is its input's first line."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

address = sys.stdin.readline().strip()


def tell(word: str) -> None:
    """One line, at once."""
    print(time.monotonic(), word, flush=True)


with subprocess.Popen(
    ["ip", "-oneline", "monitor", "address"], stdout=subprocess.PIPE, text=True
) as monitor:
    assert monitor.stdout
    # Until the input ends.
    threading.Thread(target=lambda: (sys.stdin.read(), monitor.kill())).start()
    now = subprocess.run(
        ["ip", "-oneline", "-4", "address"], capture_output=True, text=True, check=True
    )
    if f" {address}/32 " in now.stdout:
        tell("has")
    for line in monitor.stdout:
        if f" {address}/32 " in line:
            tell("lost" if line.startswith("Deleted") else "has")
