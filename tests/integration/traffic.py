"""Requests all the time, to see what a change costs those who use a service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from programs import get


@contextmanager
def traffic(port: int, clients: int = 4) -> Iterator[list[str]]:
    """What was answered, in order, by name or failure."""
    answers: list[str] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            answers.append(get(port))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
