"""A primary that is killed while a client writes, and the failover after it."""

from __future__ import annotations

import signal
import subprocess

from programs import wait_for
from selvage.mysql import acting
from selvage.mysql.cluster import need
from selvage.mysql.failover import STOPPED, failover
from selvage.mysql.promotion import Plan, switchover


def kill_primary(cluster):
    """Who it was; its replicas have noticed."""
    (primary,) = cluster.writers()
    cluster.members[primary].stop(signal.SIGKILL)
    wait_for(
        lambda: not any(one.replication.connected for one in cluster.look() if one.replication)
    )
    return primary


def fail_over(cluster):
    plan = failover(cluster.look(), host=STOPPED)
    assert isinstance(plan, Plan), plan
    cluster.carry_out(plan)
    return plan.target


def rejoin(cluster, former, primary, *options):
    """It comes back read-only, and replicates; or it has what nobody else has, and is refused."""
    cluster.members[former].start(*options)
    assert cluster.members[former].sql("SELECT @@read_only") == [["1"]]
    said = {one.name: one for one in cluster.look()}
    needed = need(said[former], said[primary])
    if needed.action == "refuse":
        assert "has transactions that the primary" in needed.reason
        cluster.seed(former, primary)
    plan = switchover(cluster.look(), primary)
    assert isinstance(plan, Plan), plan
    cluster.carry_out(plan)
    cluster.settle()
    return needed.action


def test_no_acknowledged_row_is_lost_with_the_primary(cluster):
    for _ in range(2):
        with cluster.watched(), cluster.writing() as result:
            former = kill_primary(cluster)
            primary = fail_over(cluster)
        lost = {*result["acknowledged"]} - cluster.rows(primary)
        came_back = rejoin(cluster, former, primary)
        assert cluster.writers() == [primary]
        print(
            f"{former} killed, {primary} promoted: {len(result['acknowledged'])} rows "
            f"acknowledged, {len(lost)} lost; the client waited {result['longest']:.3f} s; "
            f"{former}: {came_back}"
        )
        assert not lost


def test_what_was_received_and_not_applied_is_not_lost(cluster):
    """All replicas have it in their relay logs alone when the primary dies."""
    (primary,) = cluster.writers()
    others = [name for name in cluster.members if name != primary]
    # Whoever applies waits for this lock.
    with cluster.session(others[0]) as one, cluster.session(others[1]) as other:
        for session in (one, other):
            session.rows("FLUSH TABLES WITH READ LOCK")
        with cluster.session(primary) as own:
            own.rows("INSERT INTO shop.writes VALUES (-1)")
        former = kill_primary(cluster)
        assert -1 not in {*cluster.rows(others[0]), *cluster.rows(others[1])}
        for session in (one, other):
            session.rows("UNLOCK TABLES")
    promoted = fail_over(cluster)
    assert -1 in cluster.rows(promoted)
    rejoin(cluster, former, promoted)


def test_after_an_interrupt_the_next_run_finishes_it(cluster):
    former = kill_primary(cluster)
    plan = failover(cluster.look(), host=STOPPED)
    assert isinstance(plan, Plan)
    # Broken off after each step, the next run goes on.
    for step in plan.steps[:-1]:
        cluster.tell(step.action)
        anew = failover(cluster.look(), host=STOPPED)
        assert isinstance(anew, Plan), anew
    promoted = fail_over(cluster)
    assert cluster.writers() == [promoted]
    rejoin(cluster, former, promoted)
    left = failover(cluster.look(), host=STOPPED)
    assert (left.target, left.steps) == (promoted, ())


def test_what_was_never_acknowledged_is_nowhere_in_the_end(cluster):
    """It is in the old primary's log alone. MariaDB takes it back, MySQL's is refused with it."""
    (primary,) = cluster.writers()
    for one in cluster.look():
        if one.name != primary:
            with cluster.session(one.name) as replica:
                acting.stop_receiving(replica)
    with subprocess.Popen(
        ["mariadb", "--no-defaults", f"--socket={cluster.members[primary].socket}"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as client:
        client.stdin.write(b"INSERT INTO shop.writes VALUES (-2);")
        client.stdin.close()
        member = cluster.members[primary]
        wait_for(lambda: member.sql(f"SHOW STATUS LIKE '{member.waiting}'")[0][1] == "1")
        former = kill_primary(cluster)
    promoted = fail_over(cluster)
    came_back = rejoin(cluster, former, promoted, *member.demoted)
    assert came_back == ("rejoin" if member.demoted else "refuse")
    assert all(-2 not in cluster.rows(name) for name in cluster.members)
