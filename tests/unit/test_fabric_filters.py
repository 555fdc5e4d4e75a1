"""The playbooks' filters: from inventory hosts to what the roles take."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

SOURCE = Path(__file__).parents[2] / "filter_plugins" / "fabric.py"
spec = importlib.util.spec_from_file_location("fabric_filters", SOURCE)
fabric = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fabric)


def host(name, **variables):
    catalogue = [{"name": "inventory"}, {"name": "orders"}]
    return {"inventory_hostname": name, "fabric_services": catalogue, **variables}


def test_nodes_have_their_ids():
    hosts = [host("zk1", fabric_address="198.18.0.11", zookeeper_id="1")]
    assert fabric.fabric_nodes(hosts, "zookeeper_id") == [
        {"name": "zk1", "address": "198.18.0.11", "id": 1}
    ]
    with pytest.raises(AnsibleFilterError, match="zk1: set other_id in the inventory"):
        fabric.fabric_nodes(hosts, "other_id")


def test_instances_get_the_zone_unless_they_say_another():
    instances = [
        {"service": "a", "port": 1},
        {"service": "b", "port": 2, "labels": None},
        {"service": "c", "port": 3, "labels": {"zone": "x", "version": "2"}},
    ]
    zoned = fabric.in_zone(instances, "a")
    assert [instance["labels"] for instance in zoned] == [
        {"zone": "a"},
        {"zone": "a"},
        {"zone": "x", "version": "2"},
    ]
    assert zoned[0] | {"labels": None} == instances[0] | {"labels": None}
    assert [instance["labels"] for instance in fabric.in_zone(instances, "")] == [
        {},
        {},
        {"zone": "x", "version": "2"},
    ]


def test_subscriptions_name_services_of_the_catalogue():
    good = [host("app1", haproxy_services=["orders"]), host("app2", haproxy_services=[])]
    assert fabric.subscription_problems(good) == []
    bad = [host("app3", haproxy_services=["order", "orders"]), host("app4", haproxy_services="x")]
    assert fabric.subscription_problems([*good, *bad]) == [
        "app3: haproxy_services: 'order' is not in fabric_services, which has: inventory, orders",
        "app4: haproxy_services: expected a list of names, got 'x'",
    ]


GOOD = {
    "service": "inventory",
    "server": "198.18.0.21:8080",
    "state": "maint",
    "reason": "new disk",
    "for": "2h",
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"server": "[2001:db8::1]:80"},
        {"for": "30m"},
        {"state": "ready", "reason": "", "for": ""},
    ],
)
def test_good_requests_for_maintenance(change):
    assert fabric.maintenance_problem({**GOOD, **change}, [{"name": "inventory"}]) == ""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"service": ""}, "-e service=: expected one of inventory, orders, got ''"),
        ({"service": "inventry"}, "-e service=: expected one of inventory, orders, got 'inventry'"),
        ({"server": "app1"}, "-e server=: expected ADDRESS:PORT, such as 198.18.0.21:8080, got"),
        ({"state": "drain"}, "-e state=: expected maint or ready, got 'drain'"),
        ({"reason": ""}, "-e reason=: expected one line for whoever comes next, got ''"),
        ({"reason": "a\nb"}, "-e reason=: expected one line"),
        ({"for": 2}, "-e for=: expected a duration, such as 2h, got '2'"),
    ],
)
def test_bad_requests_for_maintenance(change, problem):
    services = [{"name": "inventory"}, {"name": "orders"}]
    said = fabric.maintenance_problem({**GOOD, **change}, services)
    assert said.startswith(problem)
    assert "\n" not in said
