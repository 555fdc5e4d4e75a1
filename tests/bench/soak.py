"""A long life: a great many changes under traffic, while registry, HAProxy and clock misbehave.

It says which requests failed, and whether the daemon's memory and descriptors stay what they were.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import random
import sys
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kazoo.exceptions import NodeExistsError, NoNodeError
from kazoo.retry import KazooRetry

from programs import wait_for

from .common import FULL, Bench, bench, percentile, places
from .sides import OURS, Place, Side, nerve
from .traffic import KEPT, Report, Traffic
from .usage import cpu_s, descriptors, rss_mib

_SERVICES = 20
_INSTANCES = 10
# Who left stays down for so many changes of its service, and as many are away at a time.
_AWAY = 4
_FRESH = 100.0
_KEPT = 100.0
_CONNECTIONS = 2 * _SERVICES
# Each minute one of these happens, in turns: a member of the registry is killed, a hand reloads
# HAProxy, all members are killed.
_EVENT_S = 60.0
# A hand's reload cuts kept connections, with requests that were sent about then.
_CUT_S = 5.0
# By ten years, forth and back, whenever the daemon looks at its clock.
_JUMPING = (
    "import itertools, sys, time; from selvage.reconciler.__main__ import main;"
    "jumps, clock = itertools.cycle([0, 3e8, -3e8]), time.time;"
    "time.time = lambda: clock() + next(jumps); sys.exit(main())"
)
_BUILD = Path(__file__).parents[2] / "build"


@dataclass
class _Registrations:
    """What is registered, changed at random; a registry that is away is waited for."""

    side: Side
    random: random.Random
    away: dict[str, deque[Place]] = field(default_factory=dict)
    present: dict[str, dict[Place, int]] = field(default_factory=dict)

    def fill(self, instances: list[Place]) -> None:
        for number, name in enumerate(self.side.services):
            own = instances[number * _INSTANCES : (number + 1) * _INSTANCES]
            self.present[name] = dict.fromkeys(own, 1)
            self.away[name] = deque()
        self.side.register(self.present)

    def change(self) -> str:
        """One join, leave or change of a weight; what it was."""
        client, again = self.side.registry.client, KazooRetry(max_tries=-1, max_delay=0.5)
        name = self.random.choice(self.side.services)
        present, away = self.present[name], self.away[name]
        kind = self.random.choice(["join", "leave", "weight"])
        if kind == "join" and len(away) == _AWAY:
            place = away.popleft()
            present[place] = 1
            with suppress(NodeExistsError):  # An attempt whose answer was lost.
                again(client.create, self.side.path(name, place), nerve(*place))
        elif kind == "leave" and len(away) < _AWAY:
            place = self.random.choice([*present])
            del present[place]
            away.append(place)
            with suppress(NoNodeError):
                again(client.delete, self.side.path(name, place))
        else:
            kind, place = "weight", self.random.choice([*present])
            present[place] = self.random.randint(1, 256)
            data = json.loads(nerve(*place)) | {"weight": present[place]}
            again(client.set, self.side.path(name, place), json.dumps(data).encode())
        return kind

    def routed(self) -> bool:
        """Whether HAProxy runs what is registered."""
        for name, present in self.present.items():
            found = {
                (row["srv_addr"], int(row["srv_port"])): int(row["srv_uweight"])
                for row in self.side.haproxy.servers(name).values()
            }
            if found != present:
                return False
        return True


def _soak(shared: Bench, seconds: float, changes: int) -> dict[str, object]:
    instances = places(20, _SERVICES * _INSTANCES)
    shared.instances.open(*instances)
    side = Side(OURS, shared.ensemble)
    try:
        side.configure(_SERVICES, check={"interval": "1s"})
        registrations = _Registrations(side, random.Random(7))
        registrations.fill(instances)
        side.daemon.start("-c", _JUMPING, "--config", side.config)
        ports = [side.port(name) for name in side.services]
        traffic = Traffic(*ports, fresh=_FRESH, kept=_KEPT, connections=_CONNECTIONS)
        try:
            found = _changes(shared, side, registrations, seconds, changes)
        finally:
            report = traffic.stop()
    finally:
        side.close()
    return {**_requests(report, found.pop("reloads_at")), **found}


def _changes(
    shared: Bench, side: Side, registrations: _Registrations, seconds: float, changes: int
) -> dict[str, object]:
    pid = side.daemon.pid
    members = itertools.cycle(shared.ensemble.members)
    samples: list[tuple[float, float, int]] = []
    reloads_at: list[float] = []
    kinds: Counter[str] = Counter()
    began, cpu = time.monotonic(), cpu_s(pid)
    sample_at = began
    events, restarts = max(3, round(seconds / _EVENT_S)), 0
    for number in range(changes):
        time.sleep(max(0.0, began + number * seconds / changes - time.monotonic()))
        kinds[registrations.change()] += 1
        if time.monotonic() >= sample_at:
            sample_at = time.monotonic() + max(1.0, seconds / 360)
            samples.append((time.monotonic() - began, rss_mib(pid), descriptors(pid)))
        event, later = divmod(number + 1, max(1, changes // events))
        if later:
            continue
        if event % 3 == 2:
            reloads_at.append(time.monotonic())
            side.haproxy.ask("reload", side.haproxy.master_socket)
        else:
            killed = shared.ensemble.members if event % 3 == 0 else [next(members)]
            shared.ensemble.restart(*killed)
            restarts += len(killed)
    took = time.monotonic() - began
    wait_for(registrations.routed, 120)
    samples.append((time.monotonic() - began, rss_mib(pid), descriptors(pid)))
    return {
        "changes": changes,
        **kinds,
        "changes_per_s": round(changes / took, 1),
        "seconds": round(took),
        "reloads_by_hand": len(reloads_at),
        "restarts_of_members": restarts,
        "daemon_cpu_ms_per_change": round(1000 * (cpu_s(pid) - cpu) / changes, 2),
        "rss_mib": _line([(at, rss) for at, rss, _ in samples]),
        "descriptors": _line([(at, float(count)) for at, _, count in samples]),
        "reloads_at": reloads_at,
    }


def _requests(report: Report, reloads_at: object) -> dict[str, object]:
    assert isinstance(reloads_at, list)
    # With when they were sent, in seconds from the nearest reload by hand.
    failures = [
        (reason, round(min((sent - at for at in reloads_at), key=abs, default=math.inf), 1))
        for sent, reason in report.failures
    ]
    cut = [f for f in failures if f[0].endswith(KEPT) and abs(f[1]) < _CUT_S]
    others = [failure for failure in failures if failure not in cut]
    return {
        "requests": report.requests,
        "failed": len(others),
        "failed_on_cut_connections": len(cut),
        "failures": others[:20],
    }


def _line(points: list[tuple[float, float]]) -> dict[str, float]:
    """How a figure went, and its slope an hour over the second half, when all is warm."""
    values = [value for _, value in points]
    late = points[len(points) // 2 :]
    mean_at = sum(at for at, _ in late) / len(late)
    mean = sum(value for _, value in late) / len(late)
    spread = sum((at - mean_at) ** 2 for at, _ in late) or 1.0
    slope = sum((at - mean_at) * (value - mean) for at, value in late) / spread
    figures = {
        "first": values[0],
        "median": percentile(values, 0.5),
        "most": max(values),
        "last": values[-1],
        "slope_per_hour": 3600 * slope,
    }
    return {name: round(value, 2) for name, value in figures.items()}


def main() -> int:
    """0 when no request failed but those of cut connections."""
    parser = argparse.ArgumentParser(prog='make soak SOAK="…"')
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--changes", type=int, default=100_000)
    options = parser.parse_args()
    # Of connections that the registry's restarts break, which is what they are for.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    with bench(FULL) as shared:
        result = _soak(shared, 60 * options.minutes, options.changes)
    _BUILD.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2)
    (_BUILD / "soak.json").write_text(f"{text}\n")
    print(text)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
