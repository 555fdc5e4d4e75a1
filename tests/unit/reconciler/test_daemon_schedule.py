"""When the daemon's next pass is due."""

from __future__ import annotations

import pytest

from selvage.reconciler.result import Result
from selvage.reconciler.schedule import Schedule

RESYNC_S = 60.0


class Time:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def schedule(clock):
    schedule = Schedule(clock, RESYNC_S, due_at=clock.now)
    assert schedule.begin() == (True, False)
    schedule.end((), result())
    return schedule


def result(begun_s=None, drains_s=None, look_s=None, commands=()):
    return Result(
        services=(), before="", after="", commands=commands, reloaded=False, problems=(), away=None,
        begun_s=begun_s, drains_s=drains_s, look_s=look_s,
    )  # fmt: skip


def test_a_resync_looks_at_everything(schedule, clock):
    assert schedule.wait_s == RESYNC_S
    schedule.ask()
    assert schedule.wait_s == 0
    assert schedule.begin() == (False, False)
    schedule.end((), result())
    clock.now += RESYNC_S
    assert schedule.begin() == (True, True)


def test_a_probe_waits_for_no_server_that_drains(schedule, clock):
    for _ in range(20):
        schedule.end((), result(drains_s=0.5))
        clock.now += schedule.wait_s
    schedule.end((), result(begun_s=0.02, drains_s=0.5))
    assert schedule.wait_s == pytest.approx(0.02)


def test_looks_at_servers_that_drain_are_spaced_out_until_something_is_done(schedule):
    waits = []
    for _ in range(6):
        schedule.end((), result(drains_s=0.05))
        waits.append(round(schedule.wait_s, 3))
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    schedule.end((), result(drains_s=0.05, commands=("set server s/one state drain",)))
    assert schedule.wait_s == pytest.approx(0.05)


def test_failures_are_tried_again_less_and_less_often(schedule, clock):
    waits = []
    for _ in range(7):
        schedule.begin()
        schedule.end(("the registry is away",), None)
        waits.append(round(schedule.wait_s, 3))
        clock.now += schedule.wait_s
    assert waits == [0.5, 1, 2, 4, 8, 10, 10]
    assert schedule.begin()[0]
    schedule.end((), result())
    assert schedule.wait_s > 0


def test_what_is_due_by_itself_is_looked_at(schedule):
    schedule.end((), result(look_s=3.0))
    assert schedule.wait_s == 3.0
    schedule.ask(1.0)
    schedule.ask(2.0)
    assert schedule.wait_s == 1.0
    schedule.put_off(5.0)
    assert schedule.wait_s == 5.0
