"""Many services: the first reconcile, one that changes nothing, one change, memory and idling.

The instances are real listeners, which the services share: some hundred for all.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import suppress

from .common import SIZE, Bench, percentile, places, spread
from .sides import NAIVE, OURS, Place, Side
from .usage import cpu_s, rss_mib, tcp_ports

# So rarely that checking thousands of instances takes no part in any figure.
_CHECK = {"check": {"interval": "60s"}}
_GROUPS = 20
_POLL_S = 0.001
_SETTLE_S = 0.5
_LIMIT_S = 60.0
_RUNS = 3


def measure(bench: Bench) -> dict[str, dict[str, object]]:
    """By side, the key `scale`."""
    points: dict[str, list[dict[str, object]]] = {OURS: [], NAIVE: []}
    listeners = [places(20 + n, max(i for _, i in bench.effort.curve)) for n in range(_GROUPS)]
    for group in listeners:
        bench.instances.open(*group)
    guests = places(19, max(bench.effort.changes))
    bench.instances.open(*guests)
    for size in bench.effort.curve:
        measured = [OURS] + [NAIVE] * (size in bench.effort.naive_curve)
        found = _size(bench, size, measured, listeners, guests)
        for name, point in found.items():
            points[name].append(point)
    return {name: {"scale": _with_curve(found)} for name, found in points.items()}


def _with_curve(points: list[dict[str, object]]) -> dict[str, object]:
    """The point that the targets are for, and next to it the way figures grow."""
    kept = ("services", "instances", "first_s", "noop_s", "one_change_ms", "rss_mib")
    (main,) = (p for p in points if (p["services"], p["instances"]) == SIZE)
    return {**main, "curve": [{key: point[key] for key in kept} for point in points]}


def _size(
    bench: Bench,
    size: tuple[int, int],
    measured: list[str],
    listeners: list[list[Place]],
    guests: list[Place],
) -> dict[str, dict[str, object]]:
    services, instances = size
    found: dict[str, dict[str, object]] = {}
    with bench.sides(services, **_CHECK) as sides:
        for name in measured:
            side = sides[name]
            side.register(
                {
                    service: listeners[number % _GROUPS][:instances]
                    for number, service in enumerate(side.services)
                }
            )
            found[name] = {"services": services, "instances": instances}
            found[name] |= _runs(side, instances)
        for name, changes in zip(measured, bench.effort.changes, strict=False):
            trials = changes if size == SIZE else changes // 3
            found[name] |= _changes(bench, sides[name], guests[:trials])
        if size == SIZE:
            for name, percent in _idle(bench, [sides[name] for name in measured]).items():
                found[name]["idle_percent"] = percent
    return found


def _runs(side: Side, instances: int) -> dict[str, object]:
    """The first run and those that change nothing, as single runs and as the daemon."""
    first = _once(side)
    _complete(side, instances)
    noops = [_once(side) for _ in range(_RUNS)]
    if not first["changed"] or any(run["changed"] for run in noops):
        raise RuntimeError(f"{side.name}: the first run shall change something, and it alone")
    side.forget()
    began = time.monotonic()
    side.start()
    complete_at = _complete(side, instances)
    return {
        "first_s": round(complete_at - began, 3),
        "first_once_s": round(first["seconds"], 3),
        "noop_s": round(statistics.median(run["seconds"] for run in noops), 3),
        "noop_read_s": round(statistics.median(run["read_s"] for run in noops), 3),
    }


def _once(side: Side) -> dict[str, float]:
    module = ["bench.oneshot"] if side.name == OURS else ["bench.naive", "--once", "--config"]
    run = subprocess.run(
        [sys.executable, "-m", *module, side.config],
        stdout=subprocess.PIPE,
        check=True,
        timeout=5 * _LIMIT_S,
    )
    return json.loads(run.stdout)


def _complete(side: Side, instances: int) -> float:
    """Wait until HAProxy runs everything, and say since when.

    The services come all at once, with a reload: the last one tells, and then all are counted.
    """
    deadline = time.monotonic() + _LIMIT_S
    found = -1
    while found != instances:
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{side.name}, {len(side.services)} services: HAProxy runs {found} of {instances}"
                f" servers of the last one after {_LIMIT_S:g} s"
            )
        with suppress(OSError):
            found = len(_servers(side, side.services[-1]))
        time.sleep(_POLL_S)
    complete_at = time.monotonic()
    running = sum(len(_servers(side, service)) for service in side.services)
    if running != instances * len(side.services):
        raise RuntimeError(f"{side.name}: HAProxy runs {running} servers")
    return complete_at


def _servers(side: Side, service: str) -> dict[str, list[str]]:
    """By name the columns of `show servers state`."""
    rows = side.haproxy.ask(f"show servers state {service}").splitlines()[2:]
    return {columns[3]: columns for columns in map(str.split, rows) if columns}


def _changes(bench: Bench, side: Side, guests: list[Place]) -> dict[str, object]:
    """One instance more, seen on the stats socket; then it leaves again."""
    service = side.services[0]
    times, reads = [], []
    ports = tcp_ports(side.daemon.pid)
    for address, port in guests:
        path, server = side.path(service, (address, port)), f"{service}_{address}_{port}"
        before = bench.ensemble.received(ports)
        side.registry.client.create(path, side.nodes({service: [(address, port)]})[path])
        times.append(_admitted(side, service, server, time.monotonic()))
        reads.append(bench.ensemble.received(ports) - before)
        time.sleep(_SETTLE_S)
        side.registry.client.delete(path)
        time.sleep(_SETTLE_S)
    return {
        "one_change_ms": round(1000 * percentile(times, 0.5), 1),
        "changes_ms": spread(times),
        # A session says now and then that it lives: the median leaves that out.
        "reads_per_join": statistics.median(reads),
        "rss_mib": round(rss_mib(side.daemon.pid), 1),
    }


def _admitted(side: Side, service: str, server: str, created: float) -> float:
    """How long after its creation it is up: srv_op_state 2, srv_admin_state 0."""
    while time.monotonic() - created < _LIMIT_S:
        with suppress(OSError):
            if _servers(side, service).get(server, [])[5:7] == ["2", "0"]:
                return time.monotonic() - created
        time.sleep(_POLL_S)
    raise RuntimeError(f"{side.name}: {server} was not admitted within {_LIMIT_S:g} s")


def _idle(bench: Bench, sides: list[Side]) -> dict[str, float]:
    """The share of one core, in percent, that each daemon takes while nothing happens."""
    time.sleep(2.0)
    before = {side.name: cpu_s(side.daemon.pid) for side in sides}
    time.sleep(bench.effort.idle_s)
    used = {side.name: cpu_s(side.daemon.pid) - before[side.name] for side in sides}
    return {name: round(100 * used_s / bench.effort.idle_s, 3) for name, used_s in used.items()}
