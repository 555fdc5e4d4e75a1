"""Events of signals and of threads reach one loop, whose waiting is bounded."""

from __future__ import annotations

import enum
import signal
import threading

from selvage.system.loop import Events


class Event(enum.Enum):
    STOP = enum.auto()
    CHANGED = enum.auto()


def test_events_come_in_order_from_signals_and_threads_alike():
    events = Events({signal.SIGUSR1: Event.STOP})
    former = signal.getsignal(signal.SIGUSR1)
    try:
        events.listen()
        events.block()
        # To this thread: others, which block nothing, would take it at once.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        assert list(events.take(0)) == []
        events.put(Event.CHANGED)
        events.listen()
        assert list(events.take(600)) == [Event.CHANGED, Event.STOP]
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_the_first_event_ends_the_waiting():
    events: Events[Event] = Events({})
    thread = threading.Timer(0.05, events.put, [Event.CHANGED])
    thread.start()
    assert list(events.take(600)) == [Event.CHANGED]
    thread.join()
    assert list(events.take(0.01)) == []
