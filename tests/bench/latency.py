"""How soon a new instance gets its first request, and one that left its last.

Joins and leaves one at a time, next to one instance that stays. Requests on fresh connections ask
all the time who answers: with two servers, every second one meets the new one, so that a figure is
at most `resolution_ms` too long.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from .common import Bench, places, spread
from .sides import NAIVE, OURS, Place, Side, nerve
from .traffic import Traffic

_RATE = 1000
_BLOCKS = 4
_WARM_UP = 5
# The next change shall not meet the former one.
_PAUSE_S = 0.3


@dataclass
class Trial:
    """One instance. Times are of `time.monotonic`; its first and last answer may be missing."""

    create_called: float
    created: float
    delete_called: float
    deleted: float
    first: float | None = None
    last: float | None = None


def measure(bench: Bench) -> dict[str, dict[str, object]]:
    """By side, the keys `join_ms`, `leave_ms` and what belongs to them."""
    stays, *guests = places(2, 1 + sum(bench.effort.joins) + 2 * _WARM_UP)
    bench.instances.open(stays, *guests)
    trials: dict[str, list[Trial]] = {OURS: [], NAIVE: []}
    with bench.sides(1) as sides:
        for side in sides.values():
            side.register({"s000": [stays]})
            side.start()
            block(bench, side, [guests.pop() for _ in range(_WARM_UP)])
        for _ in range(_BLOCKS):
            for side, joins in zip(sides.values(), bench.effort.joins, strict=True):
                found = block(bench, side, [guests.pop() for _ in range(joins // _BLOCKS)])
                trials[side.name] += found
    return {name: _figures(found) for name, found in trials.items()}


def block(bench: Bench, side: Side, guests: list[Place]) -> list[Trial]:
    """Let each of these join `s000`, and leave it, while requests ask who answers."""
    traffic = Traffic(side.port("s000"), fresh=_RATE)
    time.sleep(0.5)
    trials = {}
    for place in guests:
        path = side.path("s000", place)
        times = [time.monotonic()]
        side.registry.client.create(path, nerve(*place))
        times.append(time.monotonic())
        bench.instances.wait_until_served(place)
        time.sleep(_PAUSE_S)
        times.append(time.monotonic())
        side.registry.client.delete(path)
        times.append(time.monotonic())
        time.sleep(_PAUSE_S)
        trials[place] = Trial(*times)
    report = traffic.stop()
    for (address, port), trial in trials.items():
        trial.first = report.first.get(f"{address}:{port}")
        trial.last = report.last.get(f"{address}:{port}")
    return list(trials.values())


def _figures(trials: list[Trial]) -> dict[str, object]:
    served = [t for t in trials if t.first is not None and t.last is not None]
    return {
        "join_ms": spread(max(0.0, t.first - t.created) for t in served),
        "leave_ms": spread(max(0.0, t.last - t.deleted) for t in served),
        "latency": {
            "join_from_call_ms": spread(t.first - t.create_called for t in served),
            "leave_from_call_ms": spread(max(0.0, t.last - t.delete_called) for t in served),
            "write_ms": spread(t.created - t.create_called for t in trials),
            "never_served": len(trials) - len(served),
            "resolution_ms": 2 * 1000 / _RATE,
        },
    }
