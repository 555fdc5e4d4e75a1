"""Since when servers drain. It outlives the pass, and the process: HAProxy does not tell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Drains:
    """`since` holds seconds of the clock that `at` is of, by `service/server`."""

    since: dict[str, float]
    at: float

    def forget(self, names: Collection[str] | None, still: Collection[str]) -> None:
        """Of the services `names` (None for all) only these servers drain still."""
        for key in self.since.keys() - {*still}:
            if names is None or key.partition("/")[0] in names:
                del self.since[key]

    def over(self, service: str, server: str, drain_ms: int) -> bool:
        """Whether the server has drained for its time, which begins now if it has not yet."""
        return self.at - self.since.setdefault(f"{service}/{server}", self.at) >= drain_ms / 1000
