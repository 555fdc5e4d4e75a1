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

    Starting a thread takes about as long as a short task. So a thread that begins starts the next
    one, while whoever submits goes on; and one that has nothing to do stays for `rest_s` seconds.
    """

    def __init__(self, name: str, most: int, rest_s: float = 60.0) -> None:
        self._name = name
        self._most = most
        self._rest_s = rest_s
        self._lock = threading.Lock()
        # The owner whose turn is next comes first.
        self._queues: dict[Hashable, dict[Task, None]] = {}
        self._running: Counter[Hashable] = Counter()
        # One thread at most has been called and has not come yet, and one at most rests.
        self._called = False
        self._call_heard = threading.Condition(self._lock)
        self._rests = False

    def submit(self, owner: Hashable, task: Task) -> None:
        """Run this task, once, as soon as a thread is free for its owner."""
        with self._lock:
            self._queues.setdefault(owner, {})[task] = None
            self._call()

    def withdraw(self, owner: Hashable, task: Task) -> None:
        """Do not run this task, unless it runs already."""
        with self._lock:
            queue = self._queues.get(owner, {})
            queue.pop(task, None)
            if not queue:
                self._queues.pop(owner, None)

    def _call(self) -> None:
        """Have one thread more come, if there is something for it to do."""
        if self._called or self._due() is None:
            return
        self._called = True
        if self._rests:
            self._call_heard.notify()
            return
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            # This host has no more threads. The task waits for one of those that run.
            self._called = False

    def _work(self) -> None:
        with self._lock:
            turn = self._come()
        while turn is not None:
            self._run(*turn)
            # Whoever rests keeps nothing alive.
            turn = None
            with self._lock:
                turn = self._take() or self._rest()

    def _run(self, owner: Hashable, task: Task) -> None:
        try:
            task()
        finally:
            with self._lock:
                self._running[owner] -= 1
                if not self._running[owner]:
                    del self._running[owner]

    def _come(self) -> _Turn | None:
        self._called = False
        return self._take()

    def _rest(self) -> _Turn | None:
        if self._rests:
            return None
        self._rests = True
        called = self._call_heard.wait_for(lambda: self._called, self._rest_s)
        self._rests = False
        return self._come() if called else None

    def _take(self) -> _Turn | None:
        """Whose task is next; it counts as running from now on."""
        owner = self._due()
        if owner is None:
            return None
        queue = self._queues.pop(owner)
        task = next(iter(queue))
        del queue[task]
        if queue:
            self._queues[owner] = queue
        self._running[owner] += 1
        self._call()
        return owner, task

    def _due(self) -> Hashable | None:
        total = self._running.total()
        for owner in self._queues if total < self._most else ():
            own = self._running[owner]
            if own < max(1, (self._most - total + own) // 2):
                return owner
        return None
