"""What every measurement starts from, and how figures are summed up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

from .ensemble import Ensemble
from .instances import Instances
from .sides import NAIVE, OURS, Place, Side

_PORT = 18080


@dataclass(frozen=True)
class Effort:
    """How much is measured. Pairs are for ours and for naive, which takes longer for the same."""

    joins: tuple[int, int]
    churn: tuple[int, int]
    fleets: tuple[int, int]
    changes: tuple[int, int]
    curve: tuple[tuple[int, int], ...]
    naive_curve: tuple[tuple[int, int], ...]
    idle_s: float
    playbook_runs: int
    watchers: int
    flood: int
    slow_s: float


FULL = Effort(
    joins=(120, 40),
    churn=(300, 100),
    fleets=(10, 10),
    changes=(30, 10),
    curve=((50, 20), (200, 20), (500, 20), (500, 40)),
    naive_curve=((50, 20), (200, 20), (500, 40)),
    # Two resyncs of the daemon, which come once a minute.
    idle_s=130.0,
    playbook_runs=5,
    watchers=1000,
    flood=60,
    slow_s=20.0,
)
QUICK = Effort(
    joins=(20, 5),
    churn=(30, 10),
    fleets=(2, 2),
    changes=(6, 3),
    curve=((50, 20), (200, 20)),
    naive_curve=((200, 20),),
    idle_s=5.0,
    playbook_runs=2,
    watchers=100,
    flood=20,
    slow_s=5.0,
)
# The size that the targets are for.
SIZE = (200, 20)


@dataclass
class Bench:
    """The registry and the instances, which all measurements share."""

    ensemble: Ensemble
    instances: Instances
    effort: Effort

    @contextmanager
    def sides(self, services: int, **options: object) -> Iterator[dict[str, Side]]:
        """Ours and naive, each with an empty registry and these services in its catalogue."""
        with ExitStack() as stack:
            sides = {}
            for name in (OURS, NAIVE):
                sides[name] = Side(name, self.ensemble)
                stack.callback(sides[name].close)
                sides[name].configure(services, **options)
            yield sides


@contextmanager
def bench(effort: Effort) -> Iterator[Bench]:
    """A running ensemble that is warm."""
    with ExitStack() as stack:
        ensemble = Ensemble()
        stack.callback(ensemble.close)
        ensemble.start()
        instances = Instances()
        stack.callback(instances.close)
        yield Bench(ensemble, instances, effort)


def places(network: int, count: int) -> list[Place]:
    """Addresses and ports for instances, in 127.<network>.0.0/16."""
    return [(f"127.{network}.{n // 200}.{n % 200 + 1}", _PORT) for n in range(count)]


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank: no interpolation makes a tail look shorter."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True)
class Spread:
    """Percentiles in milliseconds."""

    p50: float
    p95: float
    p99: float
    n: int


def spread(seconds: Iterable[float]) -> dict[str, float]:
    """The percentiles of some times, as they stand in the result."""
    values = [1000 * value for value in seconds]
    shares = [round(percentile(values, share), 2) for share in (0.50, 0.95, 0.99)]
    return asdict(Spread(*shares, n=len(values)))
