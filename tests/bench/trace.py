"""Where the time of a join goes: from ZooKeeper's acknowledgement to the server in HAProxy.

Next to one instance that stays, as in `latency`, but without requests that take the processor.
"""

from __future__ import annotations

import json
import time

from .common import Bench, percentile, places
from .sides import NAIVE, OURS, nerve
from .traced import STAGES

_PAUSE_S = 0.2


def measure(bench: Bench) -> dict[str, dict[str, object]]:
    """By stage, when it had ended, in milliseconds from the acknowledgement: p50 and p99."""
    stays, *guests = places(7, 1 + bench.effort.joins[0])
    bench.instances.open(stays, *guests)
    with bench.sides(1) as sides:
        side = sides[OURS]
        side.register({"s000": [stays]})
        path = side.daemon.folder / "trace"
        side.daemon.start("-m", "bench.traced", path, "--config", side.config)
        created = []
        for guest in guests:
            znode = side.path("s000", guest)
            side.registry.client.create(znode, nerve(*guest))
            created.append(time.monotonic())
            time.sleep(_PAUSE_S)
            side.registry.client.delete(znode)
            time.sleep(_PAUSE_S)
        passes = [json.loads(line) for line in path.read_text().splitlines()]
    return {OURS: {"trace_ms": _stages(created, passes)}, NAIVE: {}}


def _stages(created: list[float], passes: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    spans: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for at in created:
        # The daemon may hear of a znode before its writer hears that it is there.
        mine = [times for times in passes if at - 0.05 < times["applied"] < at + _PAUSE_S]
        for stage, ended in mine[0].items() if mine else ():
            spans[stage].append(1000 * (ended - at))
    return {stage: _figures(ms) for stage, ms in spans.items() if ms}


def _figures(ms: list[float]) -> dict[str, float]:
    shares = {"p50": 0.50, "p99": 0.99}
    return {name: round(percentile(ms, share), 2) for name, share in shares.items()}
