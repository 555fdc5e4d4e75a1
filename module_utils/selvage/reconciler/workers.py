"""Threads for tasks that may hang: services take turns, and none of them has all the threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable

Task = Callable[[], None]
_Turn = tuple[Hashable, Task]


class Workers:
    """Runs tasks in at most `most` threads, for which nobody waits when the process ends.

    An owner gets at most half of the threads that the others leave, so that the next owner finds
    some, whatever hangs. Its other tasks wait in the order in which they came.

    Starting a thread takes about as long as a short task: one that has nothing to do stays for
    `rest_s` seconds.
    """

    def __init__(self, name: str, most: int, rest_s: float = 60.0) -> None:
        self._name = name
        self._most = most
        self._rest_s = rest_s
        self._lock = threading.Lock()
        self._given = threading.Condition(self._lock)
        self._rests = False
        # What the thread that rests is to do now.
        self._gift: _Turn | None = None
        # The owner whose turn is next comes first.
        self._queues: dict[Hashable, dict[Task, None]] = {}
        self._running: Counter[Hashable] = Counter()

    def submit(self, owner: Hashable, task: Task) -> None:
        """Run this task, once, as soon as a thread is free for its owner."""
        with self._lock:
            self._queues.setdefault(owner, {})[task] = None
            turn = self._turn()
            if turn is None:
                return
            if self._rests and self._gift is None:
                self._gift = turn
                self._given.notify()
            else:
                self._start(*turn)

    def withdraw(self, owner: Hashable, task: Task) -> None:
        """Do not run this task, unless it runs already."""
        with self._lock:
            queue = self._queues.get(owner, {})
            queue.pop(task, None)
            if not queue:
                self._queues.pop(owner, None)

    def _start(self, owner: Hashable, task: Task) -> None:
        thread = threading.Thread(
            target=self._work, args=(owner, task), name=self._name, daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            # This host has no more threads. The task waits for one of those that run.
            self._end(owner)
            self._queues.setdefault(owner, {})[task] = None

    def _work(self, owner: Hashable, task: Task) -> None:
        turn: _Turn | None = owner, task
        while turn is not None:
            owner, task = turn
            try:
                task()
            finally:
                with self._lock:
                    self._end(owner)
            with self._lock:
                turn = self._turn() or self._rest()

    def _rest(self) -> _Turn | None:
        if self._rests:
            return None
        self._rests = True
        self._given.wait_for(lambda: self._gift is not None, self._rest_s)
        self._rests = False
        turn, self._gift = self._gift, None
        return turn

    def _end(self, owner: Hashable) -> None:
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]

    def _turn(self) -> _Turn | None:
        """Who is next, and counts as running from now on."""
        total = self._running.total()
        for owner, queue in self._queues.items():
            own = self._running[owner]
            if total < self._most and own < max(1, (self._most - total + own) // 2):
                task = next(iter(queue))
                del queue[task], self._queues[owner]
                if queue:
                    self._queues[owner] = queue
                self._running[owner] += 1
                return owner, task
        return None
