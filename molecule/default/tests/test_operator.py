"""What an operator does: maintenance, explain, metrics, subscriptions."""

import pytest

from conftest import BOTH, SIDECARS, answering, playbook, servers
from labs import PREFIX, host, shell, wait_for

APP2 = f"{PREFIX}.22:8080"
STATE = "/var/lib/selvage-reconciler"


@pytest.fixture
def ready_afterwards():
    """Whatever the test leaves, nothing stays in maintenance."""
    yield
    maintain("-e", "state=ready")


def maintain(*arguments):
    place = ("-e", "service=inventory", "-e", f"server={APP2}")
    return playbook("maintenance.yml", *place, *arguments)


def status(name):
    """The line of app2's server in `selvage status`."""
    (line,) = [line for line in shell(name, "selvage status").splitlines() if APP2 in line]
    return line


def test_maintenance_by_playbook(ready_afterwards):
    words = ("-e", "for=2h", "-e", "reason='new disk'")
    check = maintain("--check", *words)
    assert sorted(check.changed) == sorted(SIDECARS), check.output
    assert all("maintenance" not in status(name) for name in SIDECARS)

    done = maintain(*words)
    assert done.rc == 0, done.output
    assert sorted(done.changed) == sorted(SIDECARS)
    for name in SIDECARS:
        assert "maintenance" in status(name)
        assert status(name).endswith(": new disk")
    assert answering("app1") == {"app1"}
    assert maintain(*words).changed == []
    shell("app1", "systemctl restart haproxy")
    assert answering("app1") == {"app1"}

    back = maintain("-e", "state=ready")
    assert sorted(back.changed) == sorted(SIDECARS), back.output
    wait_for(lambda: answering("app1") == {"app1", "app2"}, "both instances")
    assert maintain("-e", "state=ready").changed == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("-e", "service=inventry"), "-e service=: expected one of inventory, got 'inventry'"),
        (("-e", "for=2"), "-e for=: expected a duration, such as 2h, got '2'"),
        (("-e", "server=app2"), "-e server=: expected ADDRESS:PORT"),
    ],
)
def test_maintenance_refuses_what_cannot_be_meant(arguments, line):
    refused = maintain("-e", "for=2h", "-e", "reason=x", *arguments)
    assert refused.rc != 0
    assert line in refused.output
    assert not host("app1").file(f"{STATE}/overrides/inventory_{PREFIX}.22_8080.json").exists


def test_root_on_a_node_leaves_nothing_of_its_own(ready_afterwards):
    said = shell("app1", f"selvage maint inventory {APP2} --reason 'new disk' --for 1h")
    assert said.startswith(f"{APP2} is in maintenance for inventory on this node, for 1 h")
    explained = shell("app1", "selvage explain inventory")
    assert "override for another" in explained
    shell("app1", "selvage release inventory")
    assert "is back" in shell("app1", f"selvage ready inventory {APP2}")
    foreign = shell("app1", f"find {STATE} -not -user selvage-reconciler -not -path '*/.ssh*'")
    assert foreign == ""
    wait_for(lambda: answering("app1") == {"app1", "app2"}, "both instances")


def test_metrics_can_be_read_by_others_and_nothing_else_looked_at():
    def printed(command):
        return host("app1").run(f"su -s /bin/sh nobody -c '{command}'")

    expected = {'selvage_service_servers{service="inventory"} 2', "selvage_registry_connected 1"}
    metrics = f"cat {STATE}/metrics.prom"
    # They are some seconds behind what happens.
    wait_for(lambda: expected <= {*printed(metrics).stdout.splitlines()}, "these metrics")
    assert printed(f"ls {STATE}").rc != 0
    assert host("app1").file(STATE).mode == 0o751


def test_instances_are_announced_with_their_zone():
    reading = "zkCli.sh -server 127.0.0.1:2181 get /services/inventory/app1_8080"
    assert '"labels":{"zone":"a"}' in shell("zk1", reading)


def test_a_node_carries_what_it_subscribed_to():
    def provision(names):
        arguments = ("--limit", "edge1", "--tags", "reconciler")
        return playbook("site.yml", *arguments, "-e", f'{{"haproxy_services": {names}}}')

    refused = provision('["inventry"]')
    assert refused.rc != 0
    line = "edge1: haproxy_services: 'inventry' is not in fabric_services, which has: inventory"
    assert line in refused.output
    assert servers("edge1") == BOTH

    done = provision("[]")
    assert done.rc == 0, done.output
    assert shell("edge1", "selvage status").strip() == "the catalogue is empty"
    assert host("edge1").run("curl -s 127.0.0.1:3000").rc == 7  # nothing listens there
    done = provision('["inventory"]')
    assert done.rc == 0, done.output
    assert servers("edge1") == BOTH
