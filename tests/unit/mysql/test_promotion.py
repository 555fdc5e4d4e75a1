"""Plans of a promotion, carried out on a model of the cluster."""

from __future__ import annotations

import dataclasses

import pytest
from clusters import NAMES, address, fresh, history, replica, server, silent
from hypothesis import given
from hypothesis import strategies as st

from selvage.mysql.cluster import need
from selvage.mysql.promotion import Plan, Refused, failover, switchover
from selvage.mysql.servers import together


def carry_out(action, members):
    """What a server does when it is told to; a change as a new value."""
    one = members[action.server]
    if action.do in ("read_only", "writable"):
        one = dataclasses.replace(one, read_only=action.do == "read_only")
    elif action.do == "catch_up":
        # No acknowledged write is lost: whom it waits for writes no more.
        assert members[action.other].read_only
        assert one.replication.source == address(action.other)
        assert one.replication.runs
        one = dataclasses.replace(one, history=together(one.history, members[action.other].history))
    elif action.do == "apply_received":
        one = dataclasses.replace(one, history=one.received)
    elif action.do == "forget":
        one = dataclasses.replace(one, replication=None)
    elif action.do == "replicate":
        one = dataclasses.replace(one, replication=replica(action.other))
    else:
        runs = action.do == "start"
        changed = dataclasses.replace(one.replication, receiving=runs, connected=runs)
        one = dataclasses.replace(one, replication=changed)
    return {**members, action.server: one}


def writers(members):
    return {one.name for one in members.values() if one.holds_data and not one.read_only}


def directions(members):
    return {
        name: (one.read_only, one.replication and (one.replication.source, one.replication.runs))
        for name, one in members.items()
    }


def by_name(*members):
    return {one.name: one for one in members}


numbers = st.integers(1, 9)


@given(numbers, numbers, numbers, st.sampled_from(NAMES[1:]))
def test_a_switchover_never_has_two_writers_and_goes_back_until_it_may_not(a, b, c, target):
    members = by_name(
        server("db1", read_only=False, history=history(s1=max(a, b, c))),
        server("db2", history=history(s1=b), replication=replica("db1")),
        server("db3", history=history(s1=c), replication=replica("db1")),
    )
    start = members
    plan = switchover([*members.values()], target)
    assert isinstance(plan, Plan)
    assert plan.steps[plan.no_return].action.do == "writable"
    for index, step in enumerate(plan.steps):
        members = carry_out(step.action, members)
        assert len(writers(members)) <= 1
        if index < plan.no_return:
            back = members
            for done in reversed(plan.steps[: index + 1]):
                if done.undo is not None:
                    back = carry_out(done.undo, back)
                    assert len(writers(back)) <= 1
            assert directions(back) == directions(start)
        else:
            assert step.undo is None
            # An interrupted run is finished by what the servers need anyway.
            primary = members[target]
            assert {need(members[name], primary).action for name in {*NAMES} - {target}} <= {
                "keep",
                "replicate",
                "rejoin",
            }
    assert writers(members) == {target}
    assert not members[target].received.beyond(members["db1"].received)
    assert not start["db1"].history.beyond(members[target].history)
    assert all(
        need(members[name], members[target]).action == "keep" for name in {*NAMES} - {target}
    )


@given(numbers, numbers, numbers, numbers)
def test_a_failover_keeps_all_that_any_replica_has_received(b, more_b, c, more_c):
    members = by_name(
        silent("db1"),
        server("db2", history=history(s1=b), replication=replica("db1", history(s1=b + more_b))),
        server("db3", history=history(s1=c), replication=replica("db1", history(s1=c + more_c))),
    )
    all_received = together(members["db2"].received, members["db3"].received)
    plan = failover([*members.values()], "db1", fenced=True)
    assert isinstance(plan, Plan)
    for step in plan.steps:
        assert step.action.server != "db1"
        members = carry_out(step.action, members)
        assert len(writers(members)) <= 1
    assert writers(members) == {plan.target}
    assert members[plan.target].history == all_received


WRITER = server("db1", read_only=False)
REPLICA = server("db2", replication=replica("db1"))


@pytest.mark.parametrize(
    ("members", "target", "words"),
    [
        ([WRITER, REPLICA], "db1", "is the primary already"),
        ([WRITER, REPLICA], "db9", "no member"),
        ([WRITER, server("db2", read_only=False)], "db2", "writable at the same time"),
        ([server("db1"), REPLICA], "db2", "no server is writable"),
        ([WRITER, silent("db2")], "db2", "does not answer"),
        ([WRITER, fresh("db2")], "db2", "has no data"),
        ([WRITER, server("db2", replication=replica("db3"))], "db2", "does not replicate from db1"),
        (
            [WRITER, server("db2", replication=replica("db1", applying=False))],
            "db2",
            "does not run: stopped",
        ),
        (
            [WRITER, server("db2", history=history(s2=3), replication=replica("db1"))],
            "db2",
            "0-2-3",
        ),
    ],
)
def test_a_switchover_is_refused_with_the_reason(members, target, words):
    plan = switchover(members, target)
    assert isinstance(plan, Refused)
    assert words in " ".join(plan.reasons)


BROKEN = replica("db1", received=history(s1=12), applying=False, error="1062: why")


@pytest.mark.parametrize(
    ("members", "options", "words"),
    [
        ([WRITER, REPLICA], {"fenced": True}, "db1 answers"),
        ([silent("db1"), REPLICA], {}, "may still write"),
        ([silent("db1"), REPLICA, silent("db3")], {"fenced": True}, "db3 does not answer either"),
        ([silent("db1"), fresh("db2")], {"fenced": True}, "restore a backup"),
        ([silent("db1"), server("db2", read_only=False)], {"fenced": True}, "db2 is writable"),
        ([silent("db1"), server("db2", replication=BROKEN)], {"fenced": True}, "1062: why"),
        (
            [
                silent("db1"),
                server("db2", history=history(s1=9, s2=1), replication=replica("db1")),
                server("db3", history=history(s1=10), replication=replica("db1")),
            ],
            {"fenced": True},
            "db2 lacks transactions that others have: 0-1-10",
        ),
        (
            [
                silent("db1"),
                REPLICA,
                server("db3", history=history(s1=10), replication=replica("db1")),
            ],
            {"fenced": True, "target": "db2"},
            "db2 lacks",
        ),
    ],
)
def test_a_failover_is_refused_with_the_reason(members, options, words):
    plan = failover(members, "db1", **options)
    assert isinstance(plan, Refused)
    assert words in " ".join(plan.reasons)


def test_force_stands_for_what_nobody_can_know():
    plan = failover([silent("db1"), REPLICA, silent("db3")], "db1", force=True)
    assert isinstance(plan, Plan)
    assert plan.target == "db2"
