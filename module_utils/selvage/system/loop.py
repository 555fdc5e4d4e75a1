"""The events that wake a daemon's loop.

Signals, threads and watches only put an event; one loop takes them and acts.
"""

from __future__ import annotations

import contextlib
import enum
import queue
import signal
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

E = TypeVar("E", bound=enum.Enum)


class Events(Generic[E]):
    """Events from anywhere, in their order. `signals` says which event each signal is."""

    def __init__(self, signals: Mapping[signal.Signals, E]) -> None:
        self._signals = signals
        # Signal handlers put events too: SimpleQueue's `put` may interrupt itself.
        self._queue: queue.SimpleQueue[E] = queue.SimpleQueue()

    def listen(self) -> None:
        """Take the signals from now on, also those that came since `block`; main thread only."""
        for number, event in self._signals.items():
            signal.signal(number, lambda *_, event=event: self._queue.put(event))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    def block(self) -> None:
        """Keep signals waiting, for the program that is executed in this one's place."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def put(self, event: E) -> None:
        """From any thread, and from signal handlers; never waits."""
        self._queue.put(event)

    def take(self, wait_s: float) -> Iterator[E]:
        """All that is there; waits for the first at most that long, and for no other."""
        with contextlib.suppress(queue.Empty):
            yield self._queue.get(timeout=wait_s)
            while True:
                yield self._queue.get_nowait()
