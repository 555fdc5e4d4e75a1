"""Plans of a promotion, carried out on a model of the cluster."""

from __future__ import annotations

import dataclasses

import pytest
from clusters import NAMES, address, fresh, history, replica, server, silent
from hypothesis import given
from hypothesis import strategies as st

from selvage.mysql.cluster import need
from selvage.mysql.failover import RUNS, STOPPED, UNREACHABLE, failover
from selvage.mysql.promotion import Plan, Refused, switchover
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
    elif action.do == "follow":
        # Who still writes is nobody's replica.
        assert one.read_only
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


@given(numbers, numbers, numbers, st.sampled_from(NAMES[1:]), st.data())
def test_an_interrupted_switchover_is_finished_by_any_later_one(a, b, c, target, data):
    members = by_name(
        server("db1", read_only=False, history=history(s1=max(a, b, c))),
        server("db2", history=history(s1=b), replication=replica("db1")),
        server("db3", history=history(s1=c), replication=replica("db1")),
    )
    written = members["db1"].history
    plan = switchover([*members.values()], target)
    for step in plan.steps[: data.draw(st.integers(0, len(plan.steps)))]:
        members = carry_out(step.action, members)
    # To go on, or to go back.
    finally_ = data.draw(st.sampled_from([target, "db1"]))
    plan = switchover([*members.values()], finally_)
    assert isinstance(plan, Plan), plan
    for step in plan.steps:
        members = carry_out(step.action, members)
        assert len(writers(members)) <= 1
    assert writers(members) == {finally_}
    assert not written.beyond(members[finally_].history)
    again = switchover([*members.values()], finally_)
    assert (again.target, again.steps, again.left) == (finally_, (), ())


def dead(name, received):
    """A replica of one that does not answer any more."""
    return replica(name, received, connected=False, lag_s=None)


@given(numbers, numbers, numbers, numbers, st.data())
def test_a_failover_keeps_all_that_any_replica_has_received(b, more_b, c, more_c, data):
    members = by_name(
        silent("db1"),
        server("db2", history=history(s1=b), replication=dead("db1", history(s1=b + more_b))),
        server("db3", history=history(s1=c), replication=dead("db1", history(s1=c + more_c))),
    )
    all_received = together(members["db2"].received, members["db3"].received)
    plan = failover([*members.values()], host=STOPPED)
    assert isinstance(plan, Plan)
    for step in plan.steps[: data.draw(st.integers(0, len(plan.steps)))]:
        assert step.action.server != "db1"
        members = carry_out(step.action, members)
        assert len(writers(members)) <= 1
    # As far as it came: the next run ends it.
    plan = failover([*members.values()], host=STOPPED)
    for step in plan.steps:
        assert step.action.server != "db1"
        members = carry_out(step.action, members)
        assert len(writers(members)) <= 1
    assert writers(members) == {plan.target}
    assert members[plan.target].history == all_received
    assert failover([*members.values()], host=STOPPED).steps == ()


WRITER = server("db1", read_only=False)
REPLICA = server("db2", replication=replica("db1"))


@pytest.mark.parametrize(
    ("members", "target", "words"),
    [
        ([WRITER, REPLICA], "db9", "no member"),
        ([WRITER, server("db2", read_only=False)], "db2", "writable at the same time"),
        ([silent("db1"), REPLICA], "db2", "db1, which may be the primary, does not answer"),
        ([silent("db1"), REPLICA], "db1", "db1 does not answer"),
        (
            [server("db1", history=history(s1=10)), server("db2")],
            "db2",
            "db2 lacks transactions that others have, 0-1-10",
        ),
        (
            [server("db1", read_only=False, replication=replica("db2")), REPLICA],
            "db2",
            "is writable and replicates",
        ),
        ([WRITER, server("db2", cluster="two", replication=replica("db1"))], "db2", "cluster two"),
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


LEFT = dead("db1", history(s1=9))
BROKEN = replica("db1", history(s1=12), connected=False, applying=False, error="1062: why")


@pytest.mark.parametrize(
    ("members", "options", "words"),
    [
        ([server("db1"), REPLICA], {"host": RUNS}, "all members answer"),
        ([silent("db1"), server("db2", replication=LEFT)], {"host": RUNS}, "server still runs"),
        (
            [silent("db1"), server("db2", replication=LEFT)],
            {"host": RUNS, "force": True},
            "server still runs",
        ),
        (
            [silent("db1"), server("db2", replication=LEFT)],
            {"host": UNREACHABLE},
            "may still write",
        ),
        ([silent("db1"), REPLICA], {"host": UNREACHABLE, "force": True}, "db2 still receives"),
        (
            [silent("db1"), server("db2", replication=LEFT), silent("db3")],
            {"host": STOPPED},
            "db3 does not answer either",
        ),
        ([silent("db1"), fresh("db2")], {"host": STOPPED}, "restore a backup"),
        ([silent("db1"), silent("db2"), server("db3")], {"host": STOPPED}, "db1 and db2 do not"),
        ([silent("db1"), server("db2", replication=BROKEN)], {"host": STOPPED}, "1062: why"),
        (
            [
                silent("db1"),
                server("db2", replication=LEFT),
                server("db3", cluster="two", replication=LEFT),
            ],
            {"host": STOPPED},
            "data of the cluster two",
        ),
        (
            [
                silent("db1"),
                server("db2", history=history(s1=9, s2=1), replication=LEFT),
                server("db3", history=history(s1=10), replication=LEFT),
            ],
            {"host": STOPPED},
            "db2 lacks transactions that others have: 0-1-10",
        ),
        (
            [
                silent("db1"),
                server("db2", replication=LEFT),
                server("db3", history=history(s1=10), replication=LEFT),
            ],
            {"host": STOPPED, "target": "db2"},
            "db2 lacks",
        ),
    ],
)
def test_a_failover_is_refused_with_the_reason(members, options, words):
    plan = failover(members, **options)
    assert isinstance(plan, Refused)
    assert words in " ".join(plan.reasons)


def test_force_stands_for_what_nobody_can_know():
    members = [silent("db1"), server("db2", replication=LEFT), silent("db3")]
    plan = failover(members, host=UNREACHABLE, force=True)
    assert isinstance(plan, Plan)
    assert plan.target == "db2"


def test_who_cannot_follow_is_left_with_the_reason():
    errant = server("db3", history=history(s1=9, s3=1), replication=replica("db1"))
    plan = switchover([WRITER, REPLICA, errant], "db2")
    assert {step.action.server for step in plan.steps} == {"db1", "db2"}
    assert "0-3-1" in plan.left[0]


def test_after_a_break_a_silent_member_may_be_known_to_be_harmless():
    members = [server("db1"), silent("db2"), server("db3", replication=replica("db1"))]
    assert isinstance(switchover(members, "db1"), Refused)
    plan = switchover(members, "db1", harmless={"db2"})
    assert [(step.action.server, step.action.do) for step in plan.steps] == [
        ("db1", "writable"),
        ("db3", "follow"),
    ]
