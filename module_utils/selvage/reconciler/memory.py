"""What runs of the reconciler on one node tell each other: a small file in the state directory.

It holds counters for the metrics, the sizes that services had before they lost servers, the last
reload of HAProxy, the addresses that host names had, and who is held out. Losing it loses no
traffic: guards with a window then begin anew. It is read and written under the node's lock.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ..system import files

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def now() -> float:
    """Seconds since the computer's start, suspended ones too: no change of the date moves it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Memory:
    """`losses` holds, by service, pairs of time and number of servers; times are of `clock`.

    `drains` says since when servers drain, by `service/server`: HAProxy does not tell.

    `counters` are samples for Prometheus, by their name with labels. `held_out` holds, by service,
    who gets no traffic because another one has it, and why.
    """

    counters: Counter[str] = field(default_factory=Counter)
    losses: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    reloaded_at: float | None = None
    drains: dict[str, float] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    held_out: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    clock: Callable[[], float] = field(default=now, compare=False)

    def peak(self, service: str, window_ms: int) -> int:
        """The largest number of servers before a loss within the window; 0 without a loss."""
        since = self.clock() - window_ms / 1000
        return max((size for at, size in self.losses.get(service, ()) if at >= since), default=0)

    def note_loss(self, service: str, size: int, window_ms: int) -> None:
        """The service had `size` servers, and has fewer from now on."""
        since = self.clock() - window_ms / 1000
        # A former one that was not larger is no peak any more, however many there were.
        former = [loss for loss in self.losses.get(service, ()) if loss[0] >= since]
        self.losses[service] = [*(loss for loss in former if loss[1] > size), (self.clock(), size)]


class MemoryFile:
    """The file; what it holds stays in memory while nobody else writes it.

    `boot` is the file with the name of the time that `clock` counts in.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = now, boot: Path = _BOOT) -> None:
        self.path = path
        self._clock = clock
        self._boot = boot
        self._signature: tuple[int, int] | None = None
        self._text = ""
        self.memory = Memory(clock=clock)

    def load(self) -> Memory:
        """What the last run left; a file that is damaged or of another boot has no times."""
        with contextlib.suppress(OSError):
            status = self.path.stat()
            if (status.st_ino, status.st_mtime_ns) != self._signature:
                self._text = self.path.read_text("utf-8", "replace")
                self.memory = replace(_parse(self._text, self._boot), clock=self._clock)
                self._signature = (status.st_ino, status.st_mtime_ns)
        return self.memory

    def save(self) -> None:
        """Write what has changed; raises OSError."""
        text = _render(self.memory, self._boot)
        if text == self._text:
            return
        # Times are those of this boot: a crash of the computer may take what was noted last.
        status = files.write(self.path, text)
        self._text, self._signature = text, (status.st_ino, status.st_mtime_ns)


def _render(memory: Memory, boot: Path) -> str:
    document = {
        "boot": boot.read_text().strip(),
        "counters": memory.counters,
        "losses": memory.losses,
        "reloaded_at": memory.reloaded_at,
        "drains": memory.drains,
        "addresses": memory.addresses,
        "held_out": memory.held_out,
    }
    return json.dumps(document, sort_keys=True) + "\n"


def _parse(text: str, boot: Path) -> Memory:
    try:
        document = json.loads(text)
        memory = _memory(document)
        if document["boot"] == boot.read_text().strip():
            return memory
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return Memory()
    # The clock began anew.
    return Memory(counters=memory.counters, addresses=memory.addresses)


def _memory(document: Mapping[str, Any]) -> Memory:
    reloaded_at = document["reloaded_at"]
    return Memory(
        counters=Counter({str(k): int(v) for k, v in document["counters"].items()}),
        losses={
            str(service): [(float(at), int(size)) for at, size in losses]
            for service, losses in document["losses"].items()
        },
        reloaded_at=None if reloaded_at is None else float(reloaded_at),
        # A file of an older Selvage has none.
        drains={str(name): float(at) for name, at in document.get("drains", {}).items()},
        addresses={str(name): str(address) for name, address in document["addresses"].items()},
        held_out={
            str(service): [(str(child), str(reason)) for child, reason in found]
            for service, found in document.get("held_out", {}).items()
        },
    )
