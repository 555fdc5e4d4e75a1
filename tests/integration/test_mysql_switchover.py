"""A planned switchover of real servers under a writing client, and what breaks it."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import pytest
from mysql_members import Breaking, Killed

from programs import wait_for
from selvage.mysql.handover import Limits
from selvage.mysql.promotion import Plan, switchover
from selvage.mysql.session import Session, SqlError

# Where one side dies at once, the other one waits for all of the first limit.
SHORT = Limits(ready_s=5, pause_s=20)


def plan_to(cluster, target):
    plan = switchover(cluster.look(), target)
    assert isinstance(plan, Plan), plan
    return plan


def after_a_break(cluster, giver, taker):
    """As the playbook: who is primary now, and what is left to do."""
    primary = taker if cluster.writers() == [taker] else giver
    plan = switchover(cluster.look(), primary, harmless={"db1", "db2", "db3"})
    assert isinstance(plan, Plan), plan
    assert plan.giver is None
    cluster.carry_out(plan)
    return primary


def test_no_acknowledged_row_is_lost(cluster):
    # Another test may have left any of them as the primary.
    (first,) = cluster.writers()
    for target in [name for name in cluster.members if name != first] + [first]:
        with cluster.watched(), cluster.writing() as result:
            paused = cluster.carry_out(plan_to(cluster, target))
        cluster.settle()
        assert cluster.writers() == [target]
        lost = {*result["acknowledged"]} - cluster.rows(target)
        print(
            f"to {target}: {len(result['acknowledged'])} rows acknowledged, {len(lost)} lost; no "
            f"writer for {paused:.3f} s, the client waited {result['longest']:.3f} s"
        )
        assert not lost
        again = switchover(cluster.look(), target)
        assert (again.steps, again.left) == ((), ())


@pytest.mark.parametrize(
    ("side", "error"),
    [("give", SqlError), ("give", Killed), ("take", SqlError), ("take", Killed), ("there", Killed)],
)
def test_a_side_that_fails_or_dies_at_any_step_leaves_one_writer_and_all_rows(cluster, side, error):
    """At its first statement, its second, and so on until it has come through."""
    giver, taker = "db1", "db2"
    cluster.carry_out(plan_to(cluster, giver))
    opened = {
        "give": cluster.connect(giver),
        "take": cluster.connect(taker),
        "there": lambda: cluster.there(giver),
    }[side]
    with cluster.watched(), cluster.writing() as result:
        for step in itertools.count(1):
            counter = [step]
            try:
                cluster.hand_over(giver, taker, SHORT, **{side: breaking(opened, counter, error)})
            except AssertionError as broken:
                outcome = str(broken)[:160]
            primary = after_a_break(cluster, giver, taker)
            if counter[0] > 0 and primary == taker:
                break
            print(f"{primary} writes: {outcome}")
            if primary == taker:
                cluster.carry_out(plan_to(cluster, giver))
    cluster.settle()
    assert step > 3
    assert cluster.writers() == [taker]
    assert not {*result["acknowledged"]} - cluster.rows(taker)


def breaking(opened, counter, error):
    @contextmanager
    def connect():
        with opened() as inner:
            yield Breaking(inner, counter, error)

    return connect


def test_the_two_prepare_at_the_same_time(cluster):
    """Clients wait for whatever comes after `stopped`: none of the two waits for no reason."""
    cluster.carry_out(plan_to(cluster, "db1"))

    def has_a_source():
        (giver,) = [one for one in cluster.look() if one.name == "db1"]
        return giver.replication and giver.replication.port == cluster.members["db2"].port

    class Late(Session):
        """It forgets its source once the other one has a new one."""

        def __init__(self, inner):
            self._inner, self.flavour = inner, inner.flavour

        def rows(self, statement, *values):
            if statement == "RESET REPLICA ALL":
                wait_for(has_a_source)
            return self._inner.rows(statement, *values)

    @contextmanager
    def late():
        with cluster.session("db2") as inner:
            yield Late(inner)

    cluster.hand_over("db1", "db2", take=late)
    assert after_a_break(cluster, "db1", "db2") == "db2"
    cluster.settle()


def test_writes_that_do_not_end_are_named_and_the_primary_goes_on(cluster):
    cluster.carry_out(plan_to(cluster, "db1"))
    cluster.settle()
    with cluster.session("db1") as client:
        client.rows("LOCK TABLES shop.writes WRITE")
        number = client.value("CONNECTION_ID()")
        with pytest.raises(
            AssertionError, match=f"writes do not end .* connection {number} of root"
        ):
            cluster.hand_over("db1", "db2", Limits(ready_s=60, pause_s=1))
    assert cluster.writers() == ["db1"]
    cluster.settle()
