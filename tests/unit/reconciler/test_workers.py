"""Threads that are shared between services, whatever hangs in them."""

import threading
import weakref

import pytest

from programs import wait_for
from selvage.reconciler.workers import Workers


class Tasks:
    """Tasks that say that they have begun, and wait for a word."""

    def __init__(self):
        self.begun = []
        self.release = threading.Event()

    def make(self, name):
        def task():
            self.begun.append(name)
            self.release.wait(60)

        return task

    def of(self, owner):
        return sum(name[0] == owner for name in self.begun)


@pytest.fixture
def tasks():
    tasks = Tasks()
    yield tasks
    tasks.release.set()


def hang(workers, tasks, owner, count):
    for number in range(count):
        workers.submit(owner, tasks.make((owner, number)))


def test_each_owner_has_at_most_half_of_what_the_others_leave(tasks):
    workers = Workers("test", 16)
    for owner, share in (("a", 8), ("b", 4), ("c", 2), ("d", 1), ("e", 1), ("f", 0)):
        hang(workers, tasks, owner, 100)
        wait_for(lambda owner=owner, share=share: tasks.of(owner) == share)
    assert len(tasks.begun) == 16
    tasks.release.set()
    wait_for(lambda: len(tasks.begun) == 600)


def test_owners_take_turns_and_keep_their_order(tasks):
    workers = Workers("test", 1)
    hang(workers, tasks, "c", 1)
    wait_for(lambda: tasks.begun)
    hang(workers, tasks, "a", 3)
    hang(workers, tasks, "b", 2)
    tasks.release.set()
    wait_for(lambda: len(tasks.begun) == 6)
    assert tasks.begun[1:] == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]


def test_what_is_withdrawn_is_not_run(tasks):
    workers = Workers("test", 1)
    hang(workers, tasks, "a", 1)
    wait_for(lambda: tasks.begun)
    one, two = tasks.make(("a", 1)), tasks.make(("a", 2))
    workers.submit("a", one)
    workers.submit("a", two)
    workers.withdraw("a", one)
    workers.withdraw("b", one)
    tasks.release.set()
    wait_for(lambda: len(tasks.begun) == 2)
    assert tasks.begun == [("a", 0), ("a", 2)]


def test_threads_end_when_there_is_nothing_to_do(tasks):
    workers = Workers("short-lived", 16, rest_s=0.1)
    hang(workers, tasks, "a", 4)
    tasks.release.set()
    wait_for(lambda: not any(t.name == "short-lived" for t in threading.enumerate()))
    assert len(tasks.begun) == 4


def test_one_thread_stays_for_the_next_task_and_keeps_nothing_of_the_last():
    workers, threads = Workers("staying", 16), []
    for number in range(3):
        workers.submit("a", lambda: threads.append(threading.get_ident()))
        wait_for(lambda number=number: len(threads) > number and workers._rests)
    assert len({*threads}) == 1
    assert [t.name for t in threading.enumerate()].count("staying") == 1

    def last():
        threads.append(None)

    kept = weakref.ref(last)
    workers.submit("a", last)
    wait_for(lambda: None in threads and workers._rests)
    del last
    assert kept() is None


def test_a_host_without_threads_delays_a_task_and_loses_none(tasks, monkeypatch):
    workers = Workers("test", 4)
    start = threading.Thread.start

    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    hang(workers, tasks, "a", 1)
    monkeypatch.setattr(threading.Thread, "start", start)
    tasks.release.set()
    hang(workers, tasks, "b", 1)
    wait_for(lambda: len(tasks.begun) == 2)
