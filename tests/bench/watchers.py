"""Watchers of the registry in a process of their own, as the benchmark sees them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from .usage import cpu_s, rss_mib

ROOT = "/bench-nodes"

# It would tell of every connection to the member that is killed.
logging.getLogger("kazoo").addHandler(logging.NullHandler())


@dataclass
class Tally:
    """What some watchers have done. Lists hold monotonic times, one per watcher and occasion."""

    watchers: int
    # Those that know all that they want to know.
    current: int = 0
    # They had read everything, after they had connected.
    complete: list[float] = field(default_factory=list)
    # Their connection was lost.
    lost: list[float] = field(default_factory=list)
    # By path: they had read an instance that they did not know before.
    joined: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bytes_sent: int = 0
    bytes_received: int = 0

    def dump(self, current: int) -> str:
        """One line that says all of it, so many of the watchers being current now."""
        return json.dumps(vars(self) | {"current": current})


class Watchers:
    """One process with watchers: `module` is `bench.real_watchers` or `bench.lean_watchers`."""

    def __init__(
        self, module: str, hosts: Sequence[str], subscriptions: Sequence[Sequence[str]]
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps({"hosts": hosts, "subscriptions": subscriptions}))

    def tally(self) -> Tally:
        """What its watchers have done until now."""
        return self._ask("report")

    def verify(self) -> None:
        """Let each watcher look whether it missed something; only the real ones do."""
        self._ask("verify")

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time."""
        return cpu_s(self._process.pid)

    @property
    def rss_mib(self) -> float:
        """Memory."""
        return rss_mib(self._process.pid)

    def _ask(self, word: str) -> Tally:
        assert self._process.stdout
        self._say(word)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("a process of watchers has died; above is why")
        return Tally(**json.loads(answer))

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.communicate()
