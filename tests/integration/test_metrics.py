"""Metrics and log lines: what a run and the daemon say of what they do."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress

import pytest

from programs import wait_for


@pytest.fixture
def metrics(tmp_path):
    """The samples in the file, by name with labels."""

    def read():
        lines = []
        with suppress(FileNotFoundError):
            lines = (tmp_path / "metrics.prom").read_text().splitlines()
        samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return Counter({name: float(value) for name, value in samples})

    return read


def test_a_run_leaves_its_metrics(fabric, metrics, tmp_path):
    fabric.service()
    fabric.service("orders")
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.register(two.child)
    fabric.register("bad name")
    fabric.reconcile(dry_run=True)
    assert not (tmp_path / "metrics.prom").exists()

    began = time.time()
    fabric.reconcile()
    assert (tmp_path / "metrics.prom").stat().st_mode & 0o777 == 0o644
    found = metrics()
    assert began <= found["selvage_registry_read_timestamp_seconds"] <= time.time()
    assert began <= found["selvage_pass_timestamp_seconds"] <= time.time()
    assert found["selvage_registry_connected"] == 1
    assert found["selvage_problems"] == found["selvage_overrides"] == 0
    assert found['selvage_service_servers{service="inventory"}'] == 2
    assert found['selvage_service_refused{service="inventory"}'] == 1
    assert found['selvage_service_held{service="inventory"}'] == 0
    assert found['selvage_service_servers{service="orders"}'] == 0
    assert found['selvage_reloads_total{result="done"}'] == 1

    three = fabric.instance("three")
    three.healthy = False
    fabric.register(three.child)
    fabric.deregister(one.child)
    fabric.haproxy.ask(f"set server inventory/{two.server('inventory')} weight 7")
    fabric.reconcile()
    found = metrics()
    assert found['selvage_steps_total{step="add"}'] == 1
    assert found['selvage_steps_total{step="remove"}'] >= 1  # HAProxy may not let it go at once
    assert found['selvage_probes_total{result="failed"}'] == 1
    assert found["selvage_drift_total"] == 1

    fabric.deregister(two.child)
    fabric.deregister(three.child)
    fabric.reconcile()
    assert metrics()['selvage_service_held{service="inventory"}'] == 1


def test_metrics_that_cannot_be_written_do_not_keep_a_run_from_routing(fabric, tmp_path):
    port = fabric.service()
    fabric.register(fabric.instance("one").child)
    path = tmp_path / "nowhere" / "metrics.prom"
    fabric.document["metrics_file"] = str(path)
    result = fabric.reconcile()
    assert result.problems == (f"{path}: cannot be written: No such file or directory",)
    assert fabric.answers(port) == {"one"}


def test_the_daemon_keeps_its_metrics_current(fabric, daemon, metrics):
    fabric.service()
    one = fabric.instance("one")
    fabric.register(one.child)
    daemon.start()
    wait_for(lambda: metrics()['selvage_service_servers{service="inventory"}'] == 1)
    first = metrics()
    fabric.register(fabric.instance("two").child)
    wait_for(lambda: metrics()['selvage_service_servers{service="inventory"}'] == 2)
    passed, read = "selvage_pass_timestamp_seconds", "selvage_registry_read_timestamp_seconds"
    found = [metrics()]
    assert found[0][passed] > first[passed]

    def stands():
        found.append(metrics())
        return found[-1][read] > found[-2][read] and found[-1][passed] == found[-2][passed]

    # Nothing happens: no pass, and the watches stand.
    wait_for(stands)


def test_while_the_registry_is_away_its_last_reading_ages(fabric, daemon, metrics, zookeeper):
    fabric.service()
    fabric.register(fabric.instance("one").child)
    fabric.document["registry"]["hosts"] = zookeeper.hosts
    daemon.start()
    wait_for(lambda: metrics()["selvage_registry_connected"] == 1)
    zookeeper.stop()
    try:
        wait_for(lambda: "the registry is away" in daemon.log)
        away = time.time()
        wait_for(lambda: metrics().get("selvage_registry_connected") == 0)
        assert metrics()["selvage_registry_read_timestamp_seconds"] <= away
        assert metrics()['selvage_service_servers{service="inventory"}'] == 1
    finally:
        zookeeper.start()
    wait_for(lambda: metrics()["selvage_registry_connected"] == 1)
    assert metrics()["selvage_registry_read_timestamp_seconds"] > away


def test_the_daemon_tells_once_that_metrics_cannot_be_written(fabric, daemon, tmp_path):
    port = fabric.service()
    fabric.document["metrics_file"] = str(tmp_path / "nowhere" / "metrics.prom")
    fabric.register(fabric.instance("one").child)
    daemon.start()
    wait_for(lambda: "no metrics problem=" in daemon.log)
    fabric.register(fabric.instance("two").child)
    wait_for(lambda: fabric.answers(port) == {"one", "two"})
    time.sleep(6)  # longer than the pause between two attempts
    assert daemon.log.count("no metrics problem=") == 1
    assert "trying again" not in daemon.log


def test_the_daemon_tells_what_begins_and_ends(fabric, daemon):
    fabric.document["resync_interval"] = "1s"
    fabric.service(guards={"min_servers": 2})
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.register(two.child)
    daemon.start()
    lines = "service name=inventory servers="

    def told(text, times=1):
        wait_for(lambda: daemon.log.count(text) == times)

    fabric.deregister(one.child)
    told(f'<4>{lines}2 held="only 1 would be left, and guards.min_servers is 2"')
    fabric.register("bad name")
    told(f"<4>{lines}2 refused=")
    fabric.register(one.child)
    told(f"<4>{lines}2 held=none")
    fabric.deregister("bad name")
    told(f"<6>{lines}2 refused=none")
    name = two.server("inventory")

    def told_twice():
        fabric.haproxy.ask(f"set server inventory/{name} state maint")
        time.sleep(2.5)  # for some more passes
        return daemon.log.count(f"{name} was put into maintenance") >= 2

    wait_for(told_twice)
    for text in ("held=", "refused="):
        assert daemon.log.count(text) == 2
