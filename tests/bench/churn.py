"""Joins and leaves under traffic: what fails, what is reloaded, which processes stay behind."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque

from .common import Bench, places
from .sides import NAIVE, OURS, Place, Side
from .traffic import Report, Traffic

_FRESH = 600
_KEPT = 600
_CONNECTIONS = 50
_STAY = 4
_EVENT_S = 0.2
# Per event, for old processes.
_LOOKS = 3
# How many guests are there at a time, so that each lives for two seconds.
_GUESTS = 5
# Clients get that long to leave, as from the registrar.
_DRAIN_S = 5.0
# Between a mass of changes in one transaction and the next.
_FLEET_S = 3.0
_FLEET = 10


def measure_churn(bench: Bench) -> dict[str, dict[str, object]]:
    """By side, the key `churn`."""
    found = {}
    for network, (name, changes) in enumerate(zip((OURS, NAIVE), bench.effort.churn, strict=True)):
        stay, guests = places(4 + network, _STAY), places(6 + network, changes)
        with bench.sides(1) as sides:
            side = sides[name]
            bench.instances.open(*stay)
            side.register({"s000": stay})
            side.start()
            found[name] = {"churn": _churn(bench, side, guests)}
    return found


def _churn(bench: Bench, side: Side, guests: list[Place]) -> dict[str, object]:
    reloads, old = side.reloads(), 0
    traffic = Traffic(side.port("s000"), fresh=_FRESH, kept=_KEPT, connections=_CONNECTIONS)
    time.sleep(1.0)
    registered: deque[Place] = deque()
    left: deque[tuple[float, Place]] = deque()
    due = time.monotonic()

    def next_event() -> None:
        nonlocal due, old
        while left and left[0][0] + _DRAIN_S <= time.monotonic():
            bench.instances.close_places(left.popleft()[1])
        for _ in range(_LOOKS):
            due += _EVENT_S / _LOOKS
            time.sleep(max(0.0, due - time.monotonic()))
            old = max(old, side.old_processes())

    def leave() -> None:
        place = registered.popleft()
        side.registry.client.delete(side.path("s000", place))
        left.append((time.monotonic(), place))
        next_event()

    for place in guests:
        bench.instances.open(place)
        side.register({"s000": [place]})
        registered.append(place)
        next_event()
        if len(registered) > _GUESTS:
            leave()
    while registered:
        leave()
    while left:
        next_event()
    report = traffic.stop()
    return {
        **_summary(report),
        "joins": len(guests),
        "leaves": len(guests),
        "never_served": sum(f"{a}:{p}" not in report.first for a, p in guests),
        "reloads": side.reloads() - reloads,
        "old_processes": old,
    }


def measure_fleet(bench: Bench) -> dict[str, dict[str, object]]:
    """By side, the key `fleet`."""
    found = {}
    for network, (name, trials) in enumerate(zip((OURS, NAIVE), bench.effort.fleets, strict=True)):
        with bench.sides(1) as sides:
            found[name] = {"fleet": _fleets(bench, sides[name], 8 + network, trials)}
    return found


def _fleets(bench: Bench, side: Side, network: int, trials: int) -> dict[str, object]:
    every = places(network, _FLEET * (trials + 1))
    fleets = [every[start : start + _FLEET] for start in range(0, len(every), _FLEET)]
    bench.instances.open(*fleets[0])
    side.register({"s000": fleets[0]})
    side.start()
    traffic = Traffic(side.port("s000"), fresh=_FRESH, kept=_KEPT, connections=_CONNECTIONS)
    time.sleep(1.0)
    begins = []
    for number, (old, new) in enumerate(itertools.pairwise(fleets)):
        bench.instances.open(*new)
        begins.append(time.monotonic())
        side.registry.change(side.nodes({"s000": new}), [side.path("s000", p) for p in old])
        time.sleep(_FLEET_S)
        if number:
            # By now it left twice as long ago as one trial takes, and longer than its drain.
            bench.instances.close_places(*fleets[number - 1])
    time.sleep(_DRAIN_S)
    report = traffic.stop()
    failed = Counter(
        max((n for n, begin in enumerate(begins) if begin <= sent), default=-1)
        for sent, _ in report.failures
    )
    unserved = [
        number
        for number, fleet in enumerate(fleets[1:])
        if not any(f"{a}:{p}" in report.first for a, p in fleet)
    ]
    return {
        **_summary(report),
        "instances": _FLEET,
        "trials": trials,
        "failed_trials": len(failed.keys() | unserved),
    }


def _summary(report: Report) -> dict[str, object]:
    return {
        "requests": report.requests,
        "failed": len(report.failures),
        "requests_per_s": round(report.requests / report.seconds),
        "failures": dict(Counter(reason for _, reason in report.failures)),
    }
