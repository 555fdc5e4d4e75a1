"""A thousand nodes on one machine: what their watchers cost one ensemble.

Each watcher is what a node's daemon has for the registry: a session of its own and a
`RegistryView` with its watches, which reads what changed as soon as it hears of it. They share
some processes, and have no HAProxy.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from selvage import registry
from selvage.fields import Fields

from .common import Bench, percentile, places
from .ensemble import Ensemble, Registry
from .sides import NAIVE, OURS, nerve
from .usage import cpu_s, rss_mib

_ROOT = "/bench-nodes"
_SERVICES = 500
_INSTANCES = 20
_PROCESSES = 4
_THREADS = 4
_LIMIT_S = 600.0
_CHANGES = 5
_SETTLE_S = 2.0
_IDLE_S = 30.0


@dataclass(frozen=True)
class _Case:
    """So many watchers; each is subscribed to service 0, which all share, and to others."""

    watchers: int
    subscribed: int


class _Watcher:
    """One node. `seen` gets when it knew each instance that it did not know at first.

    A pool reads for all watchers of a process: a thread for each of hundreds would measure how
    Python shares itself among them.
    """

    def __init__(
        self, hosts: str, services: list[str], pool: Executor, seen: dict[str, list[float]]
    ) -> None:
        fields = {"hosts": hosts.split(","), "root": _ROOT}
        self._settings = registry.parse_settings(Fields(fields, "registry"))
        self._services = services
        self._pool = pool
        self._seen = seen
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Read everything, and follow it from then on."""
        connected = threading.Event()
        self._client = registry.connect(
            self._settings, lambda state: connected.set() if state == "CONNECTED" else None
        )
        connected.wait()
        self._view = registry.RegistryView(
            self._client, _ROOT, self._services, lambda: self._pool.submit(self._follow)
        )
        self._view.refresh(_LIMIT_S)
        self._known = self._view.content

    def _follow(self) -> None:
        with self._lock:
            self._view.refresh(_LIMIT_S)
            now, content = time.monotonic(), self._view.content
            for service in self._services:
                if content[service] is not self._known[service]:
                    for child in content[service].keys() - self._known[service].keys():
                        self._seen[f"{service}/{child}"].append(now)
            self._known = content

    def verify(self) -> None:
        """Look whether a watch was missed, as a daemon does once a minute."""
        with self._lock:
            self._view.verify(_LIMIT_S)

    def end(self) -> None:
        """End the session."""
        registry.close(self._client)


def _work() -> None:
    """One process: lines of JSON on standard input say what to do."""
    order = json.loads(sys.stdin.readline())
    seen: dict[str, list[float]] = defaultdict(list)
    with ThreadPoolExecutor(_THREADS) as pool:
        watchers = [_Watcher(order["hosts"], s, pool, seen) for s in order["services"]]
        list(pool.map(_Watcher.begin, watchers))
        print(json.dumps(time.monotonic()), flush=True)
        while order := sys.stdin.readline().strip():
            if order == "verify":
                list(pool.map(_Watcher.verify, watchers))
            print(json.dumps(seen), flush=True)
            seen.clear()
        list(pool.map(_Watcher.end, watchers))


class _Process:
    """One process with watchers, as the benchmark sees it."""

    def __init__(self, hosts: list[str], services: list[list[str]]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.nodes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps({"hosts": ",".join(hosts), "services": services}))

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def ready_at(self) -> float:
        """When all its watchers had read everything; waits for it."""
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def seen(self) -> dict[str, list[float]]:
        """Since it was asked last: per new instance, when each watcher knew it."""
        assert self._process.stdout
        self._say("report")
        return json.loads(self._process.stdout.readline())

    def verify(self) -> None:
        """Let each watcher look whether it missed something; waits for all."""
        assert self._process.stdout
        self._say("verify")
        self._process.stdout.readline()

    @property
    def usage(self) -> tuple[float, float]:
        """Memory in MiB, and seconds of processor time."""
        return rss_mib(self._process.pid), cpu_s(self._process.pid)

    def close(self) -> None:
        self._process.communicate()


def measure(bench: Bench) -> dict[str, dict[str, object]]:
    """The key `nodes`: a list with one entry per case."""
    members = Registry(bench.ensemble, _ROOT)
    members.clear()
    services = [f"s{number:03}" for number in range(_SERVICES)]
    members.change({f"{_ROOT}/{service}": b"" for service in services})
    members.change(
        {
            f"{_ROOT}/{service}/{address}_{port}": nerve(address, port)
            for number, service in enumerate(services)
            for address, port in places(20 + number % 100, _INSTANCES)
        }
    )
    found = [
        _measure(bench.ensemble, members, services, _Case(*case)) for case in bench.effort.nodes
    ]
    members.close()
    return {OURS: {"nodes": found}, NAIVE: {}}


def _measure(
    ensemble: Ensemble, members: Registry, services: Sequence[str], case: _Case
) -> dict[str, object]:
    choice = random.Random(case.subscribed)  # The same services in every run.
    subscriptions = [
        [services[0], *choice.sample(services[1:], case.subscribed - 1)]
        for _ in range(case.watchers)
    ]
    server_pids = [member.pid for member in ensemble.members]
    before = {"packets": ensemble.packets(), "cpu_s": sum(map(cpu_s, server_pids))}
    began = time.monotonic()
    with ExitStack() as stack:
        processes = []
        for part in range(_PROCESSES):
            processes.append(_Process(ensemble.hosts, subscriptions[part::_PROCESSES]))
            stack.callback(processes[-1].close)
        ready_s = max(process.ready_at() for process in processes) - began
        packets = ensemble.packets() - before["packets"]
        server_cpu_s = sum(map(cpu_s, server_pids)) - before["cpu_s"]
        popular = [_change(ensemble, members, processes, services[0]) for _ in range(_CHANGES)]
        usual = [_change(ensemble, members, processes, s) for s in services[1 : 1 + _CHANGES]]
        idle_cpu_s = sum(map(cpu_s, server_pids))
        time.sleep(_IDLE_S)
        idle_cpu_s = sum(map(cpu_s, server_pids)) - idle_cpu_s
        verify_cpu_s = sum(map(cpu_s, server_pids))
        with ThreadPoolExecutor(len(processes)) as pool:
            list(pool.map(_Process.verify, processes))
        verify_cpu_s = sum(map(cpu_s, server_pids)) - verify_cpu_s
        return {
            "watchers": case.watchers,
            "services": _SERVICES,
            "instances": _INSTANCES,
            "subscribed": case.subscribed,
            "watches": sum(int(member.figure("zk_watch_count")) for member in ensemble.members),
            "ready_s": round(ready_s, 1),
            "reads": packets,
            "reads_per_s": round(packets / ready_s),
            "server_us_per_read": round(1e6 * server_cpu_s / packets, 1),
            "servers_mib": [round(rss_mib(pid)) for pid in server_pids],
            "watcher_mib": round(sum(p.usage[0] for p in processes) / case.watchers, 2),
            "watcher_ms_per_read": round(
                1000 * sum(p.usage[1] for p in processes) / max(1, packets), 3
            ),
            "servers_idle_percent": round(100 * idle_cpu_s / _IDLE_S, 1),
            "resync_server_ms_per_watcher": round(1000 * verify_cpu_s / case.watchers, 1),
            "change_seen_by_all": _joined(popular),
            "change_seen_by_some": _joined(usual),
        }


def _change(
    ensemble: Ensemble, members: Registry, processes: list[_Process], service: str
) -> dict[str, float]:
    """One instance joins: when its watchers know it, and what they ask the servers for."""
    address, port = places(19, 1)[0]
    path = f"{_ROOT}/{service}/{address}_{port}"
    packets = ensemble.packets()
    began = time.monotonic()
    members.client.create(path, nerve(address, port))
    time.sleep(_SETTLE_S)
    packets = ensemble.packets() - packets
    key = f"{service}/{address}_{port}"
    seen = [at - began for process in processes for at in process.seen().get(key, [])]
    members.client.delete(path)
    time.sleep(_SETTLE_S)
    if not seen:
        return {"watchers": 0, "packets": packets}
    return {
        "watchers": len(seen),
        "packets": packets,
        "p50_ms": 1000 * percentile(seen, 0.5),
        "last_ms": 1000 * max(seen),
    }


def _joined(changes: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    heard = [change for change in changes if change["watchers"]]
    return {
        key: round(percentile([change[key] for change in heard], 0.5), 1)
        for key in ("watchers", "packets", "p50_ms", "last_ms")
    }


if __name__ == "__main__":
    _work()
