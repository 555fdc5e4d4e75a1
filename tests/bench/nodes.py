"""A thousand nodes on one machine: what their watchers cost one ensemble.

Each watcher is what a node's daemon has for the registry: a session of its own, with its watches,
that reads what changed as soon as it hears of it. Some are the daemon's own code; the others ask
for the same, and are lean enough for a thousand of them. The servers count whether they do. None
has a HAProxy.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass

from .common import Bench, percentile, places
from .ensemble import Ensemble, Registry
from .sides import NAIVE, OURS, nerve
from .usage import cpu_s, rss_mib
from .watchers import ROOT, Watchers

_SERVICES = [f"s{number:03}" for number in range(500)]
_INSTANCES = 20
_REAL = 10
_LEAN_PROCESSES = 2
_CHANGES = 5
_VERIFICATIONS = 5
_IDLE_S = 30.0
_SETTLE_S = 2.0
_LIMIT_S = 900.0
_CHANGE_LIMIT_S = 60.0


@dataclass(frozen=True)
class _Case:
    """Each watcher is subscribed to service 0, which all share, and to others.

    Heap and watch manager are the servers'.
    """

    subscribed: int
    heap: str = "512m"
    watch_manager: str = "WatchManager"


_CASES = (
    _Case(20),
    _Case(500, heap="2g"),
    _Case(500, watch_manager="WatchManagerOptimized"),
)


def measure(bench: Bench) -> dict[str, dict[str, object]]:
    """The key `nodes`: a list with one entry per case."""
    return {OURS: {"nodes": [_measure(case, bench.effort.watchers) for case in _CASES]}, NAIVE: {}}


def _measure(case: _Case, watchers: int) -> dict[str, object]:
    choice = random.Random(case.subscribed)  # The same services in every run.
    subscriptions = [
        [_SERVICES[0], *choice.sample(_SERVICES[1:], case.subscribed - 1)] for _ in range(watchers)
    ]
    others = [sum(service in s for s in subscriptions) for service in _SERVICES[1 : 1 + _CHANGES]]
    with closing(Ensemble(case.heap, case.watch_manager)) as ensemble, ExitStack() as stack:
        ensemble.start()
        nodes = _Nodes(ensemble, stack)
        return {
            "watchers": watchers,
            "services": len(_SERVICES),
            "instances": _INSTANCES,
            **asdict(case),
            "start": nodes.start(subscriptions),
            "servers": nodes.memory(),
            "idle": nodes.idle(),
            "change_that_all_watch": nodes.change([(_SERVICES[0], watchers)] * _CHANGES),
            "change_that_some_watch": nodes.change(list(zip(_SERVICES[1:], others, strict=False))),
            "look_for_missed_watches": nodes.verify(),
            "lost_follower": nodes.lose_follower(),
            "servers_without_it": nodes.memory(),
        }


@dataclass(frozen=True)
class _Asked:
    """What servers were asked for below our root, by their own count."""

    reads: int
    # Paths, data and metadata.
    bytes: int
    watches: int

    def __sub__(self, former: _Asked) -> _Asked:
        return _Asked(
            self.reads - former.reads, self.bytes - former.bytes, self.watches - former.watches
        )


class _Nodes:
    """A filled registry and its watchers, which end with the stack."""

    def __init__(self, ensemble: Ensemble, stack: ExitStack) -> None:
        self._ensemble = ensemble
        self._stack = stack
        self._servers = ensemble.members
        self._processes: list[Watchers] = []
        self._idle_share = 0.0
        self._registry = Registry(ensemble, ROOT)
        stack.callback(self._registry.close)
        self._registry.clear()
        self._registry.change({f"{ROOT}/{service}": b"" for service in _SERVICES})
        self._registry.change(
            {
                f"{ROOT}/{service}/{address}_{port}": nerve(address, port)
                for number, service in enumerate(_SERVICES)
                # Of one length, so that the bytes of all subscriptions are.
                for address, port in places(100 + number % 100, _INSTANCES)
            }
        )

    def start(self, subscriptions: Sequence[Sequence[str]]) -> dict[str, object]:
        """First the real watchers read everything, then all others at once.

        Raises RuntimeError when the servers were asked for something else by one of the others
        than by one of the real ones.
        """
        real, asked_by_real = self._begin("bench.real_watchers", [subscriptions[:_REAL]])
        lean = [subscriptions[_REAL + part :: _LEAN_PROCESSES] for part in range(_LEAN_PROCESSES)]
        others, asked_by_others = self._begin("bench.lean_watchers", lean)
        if asked_by_real != asked_by_others:
            raise RuntimeError(
                f"a lean watcher has asked for {asked_by_others}, a real one for {asked_by_real}"
            )
        sent = sum(process.tally().bytes_sent for process in self._processes)
        return {
            "one": asdict(asked_by_real)
            | {
                "sent_kb": round(sent / others["watchers"] / 1000, 1),
                "received_kb": round(self._received() / others["watchers"] / 1000, 1),
            },
            "real": real,
            "lean": others,
        }

    def _begin(self, module: str, parts: list[list[list[str]]]) -> tuple[dict[str, float], _Asked]:
        count = sum(map(len, parts))
        asked, servers_cpu_s, began = self._asked(), self._cpu_s(), time.monotonic()
        processes = []
        for part in parts:
            processes.append(Watchers(module, self._ensemble.hosts, part))
            self._stack.callback(processes[-1].close)
        self._processes += processes
        ready_at = self._wait_until_current()
        servers_cpu_s = self._cpu_s() - servers_cpu_s
        asked = self._asked() - asked
        figures = {
            "watchers": count,
            "ready_s": round(max(ready_at) - began, 1),
            "servers_cpu_s": round(servers_cpu_s, 1),
            "servers_us_per_read": round(1e6 * servers_cpu_s / asked.reads, 1),
            "watchers_cpu_s": round(sum(process.cpu_s for process in processes), 1),
            "watchers_mib": round(sum(process.rss_mib for process in processes)),
        }
        # On a busy machine some are cut off for their silence, and read everything anew.
        readings = sum(at > began for at in ready_at)
        return figures | {"readings": readings}, _Asked(
            asked.reads / readings, asked.bytes / readings, asked.watches / count
        )

    def idle(self) -> dict[str, float]:
        """What the sessions take while nothing changes."""
        cpu_s = self._cpu_s()
        time.sleep(_IDLE_S)
        self._idle_share = (self._cpu_s() - cpu_s) / _IDLE_S
        return {"servers_percent_of_a_core": round(100 * self._idle_share, 1)}

    def change(self, services: Sequence[tuple[str, int]]) -> dict[str, float]:
        """One instance joins and leaves again, in each of these services, which so many watch.

        The medians; what the servers take for a join of few is lost in what idle sessions take.
        Raises RuntimeError when a join costs another number of reads than two per watcher.
        """
        changes = [
            self._change(service, watchers, number)
            for number, (service, watchers) in enumerate(services)
        ]
        return {
            key: round(percentile([change[key] for change in changes if key in change], 0.5), 1)
            for key in changes[0]
        }

    def _change(self, service: str, watchers: int, number: int) -> dict[str, float]:
        address, port = places(99, _CHANGES)[number]
        path = f"{ROOT}/{service}/{address}_{port}"
        before, servers_cpu_s = self._asked(), self._cpu_s()
        watchers_cpu_s, began = self._watchers_cpu_s(), time.monotonic()
        self._registry.client.create(path, nerve(address, port))
        joined = self._wait_for_reads(before, 2 * watchers)
        servers_cpu_s = self._spent_s(servers_cpu_s, began)
        watchers_cpu_s = self._watchers_cpu_s() - watchers_cpu_s
        real_s, *lean_s = (
            [at - began for at in process.tally().joined.get(path, ())]
            for process in self._processes
        )
        seen_s = sum(lean_s, real_s)
        if (joined, len(seen_s)) != (2 * watchers, watchers):
            raise RuntimeError(
                f"{watchers} watchers read {joined} times for one join, and {len(seen_s)} knew it"
            )
        before = self._asked()
        self._registry.client.delete(path)
        left = self._wait_for_reads(before, watchers)
        figures = {
            "watchers": watchers,
            "reads_for_join": joined,
            "reads_for_leave": left,
            "join_p50_ms": 1000 * percentile(seen_s, 0.5),
            "join_last_ms": 1000 * max(seen_s),
            "join_servers_ms": 1000 * servers_cpu_s,
            "join_watchers_ms": 1000 * watchers_cpu_s,
        }
        if real_s:
            figures["join_real_p50_ms"] = 1000 * percentile(real_s, 0.5)
        return figures

    def verify(self) -> dict[str, float]:
        """The real watchers look whether they missed something, as daemons do now and then."""
        cpu_s, began = self._cpu_s(), time.monotonic()
        for _ in range(_VERIFICATIONS):
            self._processes[0].verify()
        each_s = self._spent_s(cpu_s, began) / _VERIFICATIONS / _REAL
        return {"servers_ms_per_watcher": round(1000 * each_s, 1)}

    def lose_follower(self) -> dict[str, float]:
        """A follower is killed: its watchers go to the others, and read everything anew."""
        lost = next(server for server in self._servers if "follower" in server.command("srvr"))
        self._servers = [server for server in self._servers if server is not lost]
        before, servers_cpu_s, began = self._asked(), self._cpu_s(), time.monotonic()
        lost.stop()
        time.sleep(_SETTLE_S)
        again_s = [at - began for at in self._wait_until_current() if at > began]
        return {
            "watchers": len(again_s),
            "reads": (self._asked() - before).reads,
            "current_p50_s": round(percentile(again_s, 0.5), 1),
            "current_last_s": round(max(again_s), 1),
            "servers_cpu_s": round(self._cpu_s() - servers_cpu_s, 1),
        }

    def memory(self) -> dict[str, list[float]]:
        """Per server: all of it, the heap in use after the last collection, what these took."""
        collections = [self._ensemble.collections(server) for server in self._servers]
        return {
            "rss_mib": [round(rss_mib(server.pid)) for server in self._servers],
            "heap_mib": [found.heap_mib for found in collections],
            "longest_collection_ms": [round(found.longest_ms) for found in collections],
            "collections_s": [round(found.sum_s, 1) for found in collections],
        }

    def _wait_until_current(self) -> list[float]:
        """When each watcher had read everything, once all have."""
        deadline = time.monotonic() + _LIMIT_S
        while True:
            tallies = [process.tally() for process in self._processes]
            if all(tally.current == tally.watchers for tally in tallies):
                return [at for tally in tallies for at in tally.complete]
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all watchers were current within {_LIMIT_S:g} s")
            time.sleep(0.5)

    def _wait_for_reads(self, before: _Asked, least: int) -> int:
        deadline = time.monotonic() + _CHANGE_LIMIT_S
        while (self._asked() - before).reads < least and time.monotonic() < deadline:
            time.sleep(_SETTLE_S)
        time.sleep(_SETTLE_S)  # There may be more than should be.
        return (self._asked() - before).reads

    def _asked(self) -> _Asked:
        namespace = f"{ROOT[1:]}_read_per_namespace"
        names = (f"zk_cnt_{namespace}", f"zk_sum_{namespace}", "zk_watch_count")
        figures = [server.figures() for server in self._servers]
        # A server that was never read from has no such figure.
        return _Asked(*(sum(int(each.get(name, 0)) for each in figures) for name in names))

    def _cpu_s(self) -> float:
        return sum(cpu_s(server.pid) for server in self._servers)

    def _spent_s(self, cpu_s: float, began: float) -> float:
        """The servers' processor time since then, without what idle sessions take."""
        return self._cpu_s() - cpu_s - self._idle_share * (time.monotonic() - began)

    def _watchers_cpu_s(self) -> float:
        return sum(process.cpu_s for process in self._processes)

    def _received(self) -> int:
        return sum(process.tally().bytes_received for process in self._processes)
