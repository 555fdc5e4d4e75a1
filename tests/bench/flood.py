"""How soon an instance joins while another service is flooded with registrations of no use.

The flood is a process of its own: run as `python3 -m bench.flood PATH HOST…`, it keeps ten thousand
znodes below the path and replaces a thousand of them a second, until its standard input ends. Then
it removes them. It prints a line once all are there.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

from kazoo.client import KazooClient

from . import latency
from .common import Bench, places, spread
from .sides import NAIVE, OURS, Side
from .usage import cpu_s, rss_mib

_ZNODES = 10_000
_RATE = 1_000
# So many at once, that many times a second.
_BURST = 50
_SETTLE_S = 10.0

_FILL = {"labels": {f"k{number}": "x" * 200 for number in range(20)}}
_KINDS = [
    b"",
    b"\xff\xfe",
    b"{",
    b"null",
    b"[" * 5_000,
    b"{" + b'"a":' * 500,
    b'{"host":"10.9.9.9","port":1,"host":"10.9.9.8"}',
    b'{"host":"10.9.9.9","port":NaN}',
    *(
        json.dumps(_FILL | document).encode()
        for document in (
            {},
            {"host": "10.9.9.9"},
            {"host": "10.9.9.9", "port": 0},
            {"host": "10.9.9.9", "port": 80, "weight": -1},
            {"host": "10.9.9.9", "port": 80, "haproxy_server_options": "check disabled"},
            {"host": "10.9.9.9\n server evil", "port": 80},
            {"host": "0.0.0.0", "port": 80},
            {"host": "a" * 300, "port": 80},
            {"host": "nowhere.invalid", "port": 80},
            {"address": "10.9.9.9", "port": 80, "enabled": False},
            {"address": "10.9.9.9", "port": "80"},
            {"serviceEndpoint": {"host": "10.9.9.9", "port": 80}, "status": "DEAD"},
            {"serviceEndpoint": {}, "status": "ALIVE"},
            {"vector": [{"select": "shard=x"}]},
        )
    ),
]


def measure(bench: Bench) -> dict[str, dict[str, object]]:
    """The key `flood`, for ours alone."""
    stays, other, *guests = places(12, 2 + 2 * bench.effort.flood)
    bench.instances.open(stays, other, *guests)
    side = Side(OURS, bench.ensemble)
    try:
        side.configure(2)
        side.register({"s000": [stays], "s001": [other]})
        side.start()
        half = len(guests) // 2
        found = {"quiet": _joins(bench, side, guests[:half])}
        path = f"{side.registry.root}/s001"
        with subprocess.Popen(
            [sys.executable, "-m", "bench.flood", path, *bench.ensemble.hosts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as flood:
            assert flood.stdout
            flood.stdout.readline()
            found["flooded"] = _joins(bench, side, guests[half:])
            flood.communicate()
        time.sleep(_SETTLE_S)
        found["afterwards"] = {"rss_mib": round(rss_mib(_pid(side)))}
    finally:
        side.close()
    return {OURS: {"flood": found}, NAIVE: {}}


def _joins(bench: Bench, side: Side, guests: list[tuple[str, int]]) -> dict[str, object]:
    began, cpu = time.monotonic(), cpu_s(_pid(side))
    trials = latency.block(bench, side, guests)
    busy = (cpu_s(_pid(side)) - cpu) / (time.monotonic() - began)
    served = [t.first - t.created for t in trials if t.first is not None]
    return {
        "join_ms": spread(max(0.0, seconds) for seconds in served),
        "never_served": len(trials) - len(served),
        "cpu_percent": round(100 * busy),
        "rss_mib": round(rss_mib(_pid(side))),
    }


def _pid(side: Side) -> int:
    return side.daemon.pid


def _flood(path: str, hosts: list[str]) -> None:
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    client = KazooClient(",".join(hosts), timeout=20)
    client.start()
    paths = _paths(path)
    registered: deque[str] = deque()
    due, told = time.monotonic(), False
    while not over.is_set():
        for _ in range(_BURST):
            if len(registered) >= _ZNODES:
                client.delete_async(registered.popleft())
            registered.append(next(paths))
            last = client.create_async(registered[-1], random.choice(_KINDS))
        last.wait()
        if not told and len(registered) >= _ZNODES:
            told = True
            print("all there", flush=True)
        due += _BURST / _RATE
        time.sleep(max(0.0, due - time.monotonic()))
    while registered:
        requests = [
            client.delete_async(registered.popleft()) for _ in range(min(_BURST, len(registered)))
        ]
        for request in requests:
            request.wait()
    client.stop()
    client.close()


def _paths(path: str) -> Iterator[str]:
    return (f"{path}/hostile_{number:010}" for number in itertools.count())


if __name__ == "__main__":
    _flood(sys.argv[1], sys.argv[2:])
