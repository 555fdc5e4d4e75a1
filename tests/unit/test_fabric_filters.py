"""The playbooks' filters: from inventory hosts to what the roles take."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from plugin_utils.settings import TYPES

import fabric

ROOT = Path(__file__).parents[2]

PLAYS = yaml.safe_load((ROOT / "playbooks/vars/fabric.yml").read_text())
SETTINGS, INSTEAD = PLAYS["__fabric_settings"], PLAYS["__fabric_instead"]
SERVICES = [{"name": "inventory", "port": 3000}, {"name": "orders", "port": 3001}]
INSTANCE = {"service": "inventory", "port": 8080}


NOT_SHARED = {
    "shared": [],
    "interval": "500ms",
    "back_after": "0s",
    "command": [],
    "check_port": 8405,
}


def hosts(**changes):
    """Hosts of one fabric, by name: their variables."""
    addresses = {"zk1": 11, "zk2": 12, "app1": 21, "edge1": 31, "ctl1": 41}
    return {
        name: {
            "ansible_host": f"198.18.0.{number}",
            "fabric_services": SERVICES,
            **({"zookeeper_id": number - 10} if name.startswith("zk") else {}),
            **changes.get(name, {}),
        }
        for name, number in addresses.items()
    }


def groups(**changes):
    names = [*hosts()]
    tiers = {
        "zookeeper": ["zk1", "zk2"],
        "services": ["app1"],
        "edge": ["edge1"],
        "controller": ["ctl1"],
    }
    return {"all": names, "fabric": names, **tiers, **changes}


def drawn(groups_changes=None, run=None, **changes):
    inventory = groups(**groups_changes or {})
    variables = hosts(**changes)
    return fabric.fabric_map(variables, inventory, run or [*variables], SETTINGS, INSTEAD)


def problems(groups_changes=None, **changes):
    return drawn(groups_changes, **changes)["problems"]


def test_the_map():
    found = drawn()
    assert found["problems"] == []
    assert found["ensemble"] == [
        {"name": "zk1", "address": "198.18.0.11", "id": 1},
        {"name": "zk2", "address": "198.18.0.12", "id": 2},
    ]
    assert [node["name"] for node in found["members"]] == ["app1", "ctl1", "edge1", "zk1", "zk2"]
    assert [node["name"] for node in found["sidecars"]] == ["app1", "edge1"]
    assert found["controllers"] == ["198.18.0.41"]
    assert found["hosts"]["app1"]["groups"][0] == "__fabric_announcing"
    assert {host: values["groups"][-2:] for host, values in found["hosts"].items()} == {
        "app1": ["__fabric_services", "__fabric_sidecars"],
        "ctl1": ["__fabric_controller", "__fabric_members"],
        "edge1": ["__fabric_members", "__fabric_sidecars"],
        "zk1": ["__fabric_members", "__fabric_zookeeper"],
        "zk2": ["__fabric_members", "__fabric_zookeeper"],
    }


def secret(number):
    return f"0f3a9c1be77d42aa5b60{number:04}"


SECRETS = {
    "fabric_ca_passphrase": secret(0),
    "redis_admin_passwords": [secret(1), secret(2)],
    "redis_replication_passwords": [secret(3)],
    "redis_sentinel_passwords": [secret(4)],
    "mysql_replication_passwords": [secret(5)],
    "mysql_backup_passwords": [secret(6), secret(8)],
    "mysql_monitor_passwords": [secret(7)],
}
DATA = {**SECRETS, "mysql_first_primary": "zk1", "mysql_semi_sync_without_replica": "wait"}
TIERS = {"redis": ["edge1", "ctl1", "zk1"], "mysql": ["zk2", "zk1"]}


def with_data(tiers=TIERS, **changes):
    """A fabric with both data tiers; a change of `None` takes a variable away."""
    mine = {host: {**DATA, **changes.get(host, {})} for host in hosts()}
    mine["zk1"] = {"mysql_server_id": 7, **mine["zk1"]}
    mine["zk2"] = {"mysql_server_id": 4, **mine["zk2"]}
    return drawn(tiers, **mine)


def test_redis_has_members_a_profile_and_its_ports():
    found = with_data(ctl1={"redis_port": "7000"})
    assert found["problems"] == []
    assert [node["name"] for node in found["redis"]] == ["ctl1", "edge1", "zk1"]
    mine = found["hosts"]["ctl1"]
    assert "__fabric_redis" in mine["groups"]
    assert mine["profiles"] == ["cache"]
    assert found["hosts"]["edge1"]["profiles"] == ["cache", "proxy"]
    (rule,) = mine["firewall"]
    assert (rule["ports"], rule["from"]) == ([7000, 26379], "fabric")


def test_mysql_has_members_by_their_ids_a_profile_and_its_ports():
    found = with_data()
    assert found["mysql"] == [
        {"name": "zk2", "address": "198.18.0.12", "id": 4},
        {"name": "zk1", "address": "198.18.0.11", "id": 7},
    ]
    mine = found["hosts"]["zk2"]
    assert "__fabric_mysql" in mine["groups"]
    assert mine["profiles"] == ["zookeeper", "database"]
    assert [(rule["port"], rule["from"]) for rule in mine["firewall"][-2:]] == [
        (3306, "fabric"),
        (4444, ["198.18.0.12", "198.18.0.11"]),
    ]


def test_applications_find_the_data_tiers_in_the_catalogue():
    mine = with_data()["hosts"]["app1"]
    assert [(service["name"], service["port"]) for service in mine["services"][2:]] == [
        ("redis-primary", 6379),
        ("redis-replica", 6380),
        ("mysql-primary", 3307),
        ("mysql-replica", 3306),
    ]
    assert {*range(6379, 6381), 3306, 3307} <= {*mine["reserved_ports"]}
    # What an inventory says of a service wins.
    own = {"name": "redis-primary", "port": 7000, "mode": "tcp"}
    changed = {name: {"fabric_services": [own]} for name in hosts()}
    services = with_data(**changed)["hosts"]["app1"]["services"]
    assert [service["port"] for service in services] == [7000, 6380, 3307, 3306]
    edge = with_data(edge1={"haproxy_services": ["mysql-replica"]})["hosts"]["edge1"]
    assert [service["name"] for service in edge["services"]] == ["mysql-replica"]


def test_a_data_tier_alone_adds_its_own_services():
    found = with_data({"mysql": TIERS["mysql"]})["hosts"]["app1"]["services"]
    assert [service["name"] for service in found[2:]] == ["mysql-primary", "mysql-replica"]


def test_members_of_a_data_tier_announce_both_roles():
    mine = with_data(zk1={"redis_port": 7000})["hosts"]["zk1"]
    assert "__fabric_announcing" in mine["groups"] and "__fabric_sidecars" not in mine["groups"]
    assert [(one["service"], one["port"]) for one in mine["instances"]] == [
        ("mysql-primary", 3306),
        ("mysql-replica", 3306),
        ("redis-primary", 7000),
        ("redis-replica", 7000),
    ]
    assert mine["instance_units"] == ["redis-server.service", "mariadb.service"]
    other = with_data(**{name: {"mysql_flavour": "mysql"} for name in ("zk1", "zk2")})
    assert "mysql.service" in other["hosts"]["zk1"]["instance_units"]
    TYPES["instances"](mine["instances"], "fabric_instances")
    TYPES["catalogue"](mine["services"], "fabric_services")


def test_data_tiers_have_certificates_of_the_fabrics_ca():
    found = with_data()
    assert found["authority"] == "ctl1"
    named = {
        name: [entry["name"] for entry in mine["certificates"]]
        for name, mine in found["hosts"].items()
    }
    assert named == {
        "app1": [],
        "ctl1": ["redis"],
        "edge1": ["redis"],
        "zk1": ["redis", "mysql"],
        "zk2": ["mysql"],
    }
    assert found["hosts"]["zk2"]["certificates"][0]["addresses"] == ["198.18.0.12", "127.0.0.1"]
    assert "__fabric_certified" in found["hosts"]["app1"]["groups"]


@pytest.mark.parametrize(
    ("tiers", "changes", "expected"),
    [
        ({"redis": ["edge1", "ctl1"]}, {}, "ctl1, edge1: Redis needs 3 members or more"),
        ({}, {"zk1": {"mysql_first_primary": "zk2"}}, "zk1, zk2: mysql_first_primary: zk1 here,"),
        ({}, {"zk2": {"mysql_first_primary": None}}, "zk2: mysql_first_primary: name the member"),
        (
            {},
            {name: {"mysql_first_primary": "app1"} for name in ("zk1", "zk2")},
            "zk1, zk2: mysql_first_primary: app1 is none of MySQL's members, which are zk1, zk2",
        ),
        (
            {},
            {"zk1": {"mysql_semi_sync_without_replica": None}},
            "zk1: mysql_semi_sync_without_replica: say what a commit does",
        ),
        (
            {},
            {"zk1": {"mysql_semi_sync_without_replica": "perhaps"}},
            "zk1: mysql_semi_sync_without_replica: expected go_on or wait",
        ),
        (
            {},
            {name: {"mysql_flavour": "percona"} for name in ("zk1", "zk2")},
            "zk1, zk2: mysql_flavour: expected mariadb or mysql, got percona",
        ),
        (
            {},
            {"zk2": {"mysql_flavour": "mysql"}},
            "zk1, zk2: mysql_flavour: mariadb here, mysql",
        ),
        ({}, {"zk1": {"mysql_server_id": 4}}, "zk2: mysql_server_id: zk1 has 4 too"),
        ({}, {"zk1": {"mysql_server_id": None}}, "zk1: mysql_server_id: is required"),
        (
            {},
            {"zk1": {"fabric_certificates": [{"name": "mysql"}]}},
            "zk1: fabric_certificates: mysql is the name of one that the fabric makes itself",
        ),
        (
            {"services": ["app1", "zk1"]},
            {"zk1": {"fabric_instances": [{"service": "inventory", "port": 26379}]}},
            "zk1: fabric_instances: inventory has port 26379, which Sentinel needs on this host",
        ),
    ],
)
def test_data_tiers_that_cannot_be_meant(tiers, changes, expected):
    found = with_data({**TIERS, **tiers}, **changes)["problems"]
    assert any(line.startswith(expected) for line in found), found


def test_secrets_of_a_data_tier_are_needed_with_it_alone():
    assert drawn()["problems"] == []
    found = with_data(**{name: {"redis_sentinel_passwords": None} for name in hosts()})["problems"]
    (line,) = found
    assert "redis_sentinel_passwords: is missing, and redis of this fabric need it" in line


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (secret(5), "mysql_monitor_passwords: expected a list of one secret, or of the new one"),
        ([], "mysql_monitor_passwords: expected a list of one secret"),
        ([secret(5), secret(8), secret(9)], "mysql_monitor_passwords: expected a list of one"),
        ([secret(9), secret(9)], "mysql_monitor_passwords: the new one and the former one are the"),
        ([secret(9), "short"], "mysql_monitor_passwords[1]: it has 5 characters"),
        ([secret(9) * 2], "mysql_monitor_passwords[0]: it has 48 characters, and a secret has at"),
        ([secret(9), secret(8)], "is the same as mysql_"),
    ],
)
def test_passwords_that_cannot_rotate(values, problem):
    found = with_data(**{name: {"mysql_monitor_passwords": values} for name in hosts()})["problems"]
    assert any(problem in line for line in found), found
    assert not any(secret(number) in line for line in found for number in (5, 8, 9))


def test_the_order_of_the_inventory_changes_nothing():
    turned = {name: [*reversed(hosts)] for name, hosts in groups().items()}
    assert drawn(turned) == drawn()


def test_defaults_and_what_follows_from_the_groups():
    found = drawn(app1={"fabric_instances": [INSTANCE], "fabric_zone": "a"})["hosts"]
    assert found["app1"] == {
        "groups": [
            "__fabric_announcing",
            "__fabric_members",
            "__fabric_services",
            "__fabric_sidecars",
        ],
        "address": "198.18.0.21",
        "networks": [],
        "control_addresses": [],
        "profiles": ["proxy"],
        "firewall": [{"name": "inventory", "port": 8080, "from": "fabric"}],
        "batches": [1, "25%"],
        "zone": "a",
        "zookeeper_hosts": ["198.18.0.11:2181", "198.18.0.12:2181"],
        "catalogue": ["inventory", "orders"],
        "services": SERVICES,
        "instances": [INSTANCE | {"labels": {"zone": "a"}}],
        "reserved_ports": [3000, 3001, 8404],
        "instance_units": [],
        "certificates": [],
        "redis_port": 6379,
        "redis_sentinel_port": 26379,
        "edge_address": NOT_SHARED,
        "backup": {
            "country": "",
            "countries": [],
            "folder": "/var/backups/selvage",
            "keep": 14,
            "schedule": "17 3 * * *",
            "time_limit": 14400,
            "recipients": [],
        },
    }
    assert [found[host]["profiles"] for host in ("zk1", "ctl1")] == [["zookeeper"], ["proxy"]]


def test_backups_are_of_tiers_with_data_and_lie_where_they_may():
    keeps = {"backup": ["ctl1"]}
    found = drawn(keeps)
    assert {tier: [one["name"] for one in some] for tier, some in found["backed_up"].items()} == {
        "zookeeper": ["zk1", "zk2"]
    }
    assert "__fabric_backed_up" in found["hosts"]["zk1"]["groups"]
    assert "__fabric_backed_up" not in drawn()["hosts"]["zk1"]["groups"]
    within = {host: {"fabric_countries": ["DE", "FR"]} for host in found["hosts"]}
    (line,) = problems(keeps, **within)
    assert line.startswith("ctl1: fabric_country: is missing, and backups may lie in DE, FR alone")
    abroad = {**within, "ctl1": {**within["ctl1"], "fabric_country": "US"}}
    assert problems(keeps, **abroad) == [
        "ctl1: fabric_country: US is not among fabric_countries (DE, FR), where backups may lie:"
        " keep them on another host"
    ]
    home = {**within, "ctl1": {**within["ctl1"], "fabric_country": "FR"}}
    assert problems(keeps, **home) == []


def test_a_host_of_several_tiers_has_the_union():
    extra = {"name": "mine", "port": 9100, "from": "control"}
    changes = {"fabric_instances": [INSTANCE], "fabric_extra_firewall": [extra]}
    one = drawn({"services": ["app1", "zk1"], "controller": ["zk1"]}, zk1=changes)["hosts"]["zk1"]
    assert one["profiles"] == ["zookeeper", "proxy"]
    assert [rule["name"] for rule in one["firewall"]] == [
        "ZooKeeper's clients",
        "ZooKeeper's quorum and elections",
        "mine",
        "inventory",
    ]


def test_what_must_not_share_a_host():
    taken = [{"name": "inventory", "port": 3000}, {"name": "coordination", "port": 2181}]
    ports = [{"service": "inventory", "port": port} for port in (3888, "3000", 8404, 3001)]
    assert problems(
        {"services": ["app1", "zk1"]},
        zk1={"fabric_instances": ports, "fabric_services": taken},
        app1={"fabric_services": taken},
        edge1={"haproxy_stats_bind": "*:3001 ssl", "haproxy_services": ["orders"]},
    ) == [
        "edge1: fabric_services: orders has port 3001, which HAProxy's statistics page needs on"
        " this host",
        "zk1: fabric_instances: inventory has port 3000, which the sidecar for inventory needs on"
        " this host",
        "zk1: fabric_instances: inventory has port 3888, which ZooKeeper needs on this host",
        "zk1: fabric_instances: inventory has port 8404, which HAProxy's statistics page needs on"
        " this host",
        "zk1: fabric_services: coordination has port 2181, which ZooKeeper needs on this host",
    ]


def test_a_port_is_free_where_no_sidecar_has_it():
    assert (
        problems(
            app1={
                "fabric_instances": [INSTANCE | {"port": 3001}],
                "haproxy_services": ["inventory"],
            },
            ctl1={"fabric_services": [{"name": "a", "port": 8404}]},
        )
        == []
    )


def test_what_is_served_is_taken_by_no_outgoing_connection():
    found = drawn(
        app1={"haproxy_services": ["orders"], "fabric_services": [*map(worded, SERVICES)]},
        edge1={"haproxy_stats_bind": "127.0.0.1:40000", "node_reserved_ports": ["50000", 22]},
        ctl1={"node_reserved_ports": [50000]},
    )["hosts"]
    assert {host: values["reserved_ports"] for host, values in found.items()} == {
        "app1": [3001, 8404],
        "ctl1": [50000],
        "edge1": [22, 3000, 3001, 40000, 50000],
        "zk1": [],
        "zk2": [],
    }


def worded(service):
    """As templates give numbers."""
    return service | {"port": str(service["port"])}


def test_the_default_is_the_roles():
    defaults = yaml.safe_load((ROOT / "roles/haproxy/defaults/main.yml").read_text())
    assert SETTINGS["haproxy_stats_bind"]["default"] == defaults["haproxy_stats_bind"]


@pytest.mark.parametrize("name", ["app1.example.net", "App2", "app_1", "192.0.2.21", "a" * 253])
def test_names_as_inventories_have_them(name):
    found = with_another(name)
    assert found["problems"] == []
    assert {"name": name, "address": "198.18.0.99"} in found["members"]


def test_a_host_may_be_called_by_its_address():
    (mine,) = [node for node in with_another("192.0.2.21", None)["members"] if "." in node["name"]]
    assert mine == {"name": "192.0.2.21", "address": "192.0.2.21"}


@pytest.mark.parametrize(
    "name", ["app 1", "app1:22", "_app1", "app1/x", "2001:db8::1", "äpp", "a\nb"]
)
def test_names_that_no_file_takes(name):
    (line,) = with_another(name)["problems"]
    assert line.startswith(f"{name!r}: a host's name in the inventory has letters, digits, dots,")


def test_names_that_differ_by_capitals_are_one():
    assert with_another("APP1")["problems"] == [
        "app1: its name and APP1 differ by capitals alone, which nobody heeds: rename it"
    ]


def with_another(name, address="198.18.0.99"):
    names = [*hosts(), name]
    variables = hosts() | {name: {"ansible_host": address}}
    inventory = groups(all=names, fabric=names)
    return fabric.fabric_map(variables, inventory, names, SETTINGS, INSTEAD)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fabric_networks": "192.0.2.0/24"}, "fabric_networks: expected a list, got a string"),
        ({"fabric_networks": ["192.0.2.1/24"]}, "fabric_networks[0]: expected an address or a"),
        ({"fabric_control_addresses": ["me"]}, "fabric_control_addresses[0]: expected an address"),
        ({"fabric_address": "app1"}, "fabric_address: expected the host's IPv4 address in the"),
        ({"fabric_zone": "a b"}, "fabric_zone: expected a word such as eu-1, got 'a b'"),
        ({"fabric_profiles": ["fast"]}, "fabric_profiles[0]: expected one of proxy, zookeeper, "),
        ({"fabric_extra_firewall": [{"port": 1}]}, "fabric_extra_firewall[0].name: is required"),
        ({"fabric_services": [SERVICES[0]] * 2}, "fabric_services: the name inventory stands tw"),
        ({"fabric_services": None}, "fabric_services: set the catalogue; an empty list is one"),
        ({"fabric_services": [{"name": "a", "port": 99999}]}, "fabric_services[0].port: expected"),
        ({"fabric_services": [{"name": "a", "port": "http"}]}, "fabric_services[0].port: expected"),
        ({"fabric_services": [{"name": "a"}]}, "fabric_services[0].port: is required"),
        (
            {"fabric_instances": [INSTANCE | {"service": "inventry"}]},
            "fabric_instances: 'inventry' is not in fabric_services, which has: inventory, orders",
        ),
        (
            {"fabric_instances": [INSTANCE | {"port": "http"}]},
            "fabric_instances[0].port: expected a whole number from 1 to 65535, got http",
        ),
        (
            {"fabric_extra_firewall": [{"name": "a", "port": "ssh"}]},
            "fabric_extra_firewall[0].port: expected a whole number from 1 to 65535, got ssh",
        ),
        (
            {"fabric_extra_firewall": [{"name": "a", "ports": 80}]},
            "fabric_extra_firewall[0].ports: expected a list",
        ),
        ({"ansible_port": "ssh"}, "ansible_port: expected a whole number from 1 to 65535, got ssh"),
        ({"node_ssh_port": 0}, "node_ssh_port: expected a whole number from 1 to 65535, got 0"),
        ({"node_reserved_ports": [0]}, "node_reserved_ports"),
        ({"haproxy_stats_bind": ":99999"}, "haproxy_stats_bind: expected a whole number from 1 to"),
        ({"haproxy_stats_bind": "metrics"}, "haproxy_stats_bind: expected an address and a port"),
        ({"ansible_host": None}, "fabric_address: set it, or ansible_host, to the host's IPv4"),
        ({"fabric_instances": [{"service": "a"}]}, "fabric_instances[0].port: is required"),
        ({"fabric_instances": [INSTANCE] * 2}, "fabric_instances: the service and port inventory"),
        ({"fabric_instance_units": ["inventory"]}, "fabric_instance_units[0]: expected a systemd"),
        ({"fabric_zookeeper_hosts": ["zk1:99999"]}, "fabric_zookeeper_hosts[0]: expected a port"),
        ({"fabric_zookeeper_hosts": []}, "fabric_zookeeper_hosts: is required: the ensemble's"),
        ({"haproxy_services": "x"}, "haproxy_services: expected a list, got a string"),
        (
            {"haproxy_services": ["order"]},
            "haproxy_services: 'order' is not in fabric_services, which has: inventory, orders",
        ),
        (
            {"fabric_zones": "a"},
            "fabric_zones is no variable of the fabric, did you mean fabric_zo",
        ),
        ({"fabric_xyz": 1}, "fabric_xyz is no variable of the fabric, docs/variables.md lists all"),
        (
            {"registrar_after": []},
            "registrar_after has no effect here: set fabric_instance_units i",
        ),
    ],
)
def test_settings_that_cannot_be_meant(changes, expected):
    (line,) = problems(app1=changes)
    assert line.startswith(f"app1: {expected}")
    assert "\n" not in line


@pytest.mark.parametrize("batches", [[1, "0%"], [], "some", 0, {}, [1, [2]]])
def test_batches_that_cannot_be_meant(batches):
    (line,) = problems(**{host: {"fabric_serial": batches} for host in hosts()})
    assert "2 more: fabric_serial: expected a number of hosts, a share such as 25%, or" in line


def test_batches_are_one_setting_for_the_fabric():
    (line,) = problems(app1={"fabric_serial": 2})
    assert line.endswith("set it for the whole fabric")


def test_an_address_that_two_hosts_have():
    assert problems(edge1={"ansible_host": "198.18.0.21"}) == [
        "edge1: fabric_address: app1 has 198.18.0.21 too"
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "zk2: zookeeper_id: is required: give each member one, and never change it"),
        ("two", "zk2: zookeeper_id: expected a whole number from 1 to 255, got two: give each"),
        (1, "zk2: zookeeper_id: zk1 has 1 too"),
    ],
)
def test_members_of_zookeeper_need_an_id_of_their_own(given, expected):
    (line,) = problems(zk2={"zookeeper_id": given})
    assert line.startswith(expected)


def test_applications_are_for_hosts_that_run_some():
    orders = {"name": "orders", "application": "orders.tasks", "directory": "/opt/orders"}
    orders |= {"user": "orders", "queues": ["orders"]}
    assert problems(edge1={"celery_applications": [orders]}) == [
        "edge1: celery_applications: nobody runs them here; only the hosts of the group services"
        " run applications"
    ]
    (line,) = problems(app1={"celery_applications": [{**orders, "queues": ["a;b"]}]})
    assert line.startswith("app1: celery_applications[0].queues")
    # With an empty list those that were there are taken away.
    for given, there in (([orders], True), ([], True), (None, False)):
        app1 = drawn(app1={"celery_applications": given})["hosts"]["app1"]
        assert ("__fabric_celery" in app1["groups"]) is there
        assert "/opt/orders" not in repr(app1)


def test_instances_on_a_host_that_announces_none():
    assert problems(edge1={"fabric_instances": [INSTANCE]}) == [
        "edge1: fabric_instances: nothing announces them here; only the hosts of the group"
        " services announce instances"
    ]


def test_many_hosts_with_one_problem_are_one_line():
    wrong = {host: {"fabric_zone": "a b"} for host in hosts()}
    assert problems(**wrong) == [
        "app1, ctl1, edge1 and 2 more: fabric_zone: expected a word such as eu-1, got 'a b'"
    ]


def test_only_sidecars_subscribe():
    wrong = {host: {"haproxy_services": ["x"]} for host in hosts()}
    assert problems(**wrong) == [
        "app1, edge1: haproxy_services: 'x' is not in fabric_services, which has: inventory, orders"
    ]


def test_a_fabric_agrees_on_its_groups():
    assert problems(app1={"fabric_edge_group": "border"}) == [
        "fabric_edge_group: border for app1, edge for zk2; set it for the whole fabric"
    ]


def variables_set(node):
    """The names in every `vars` below a part of a playbook."""
    if isinstance(node, list):
        return {name for item in node for name in variables_set(item)}
    if isinstance(node, dict):
        return {*node.get("vars", {})} | variables_set([*node.values()])
    return set()


def test_what_the_playbook_sets_is_refused_in_inventories():
    tiers = ("redis", "mysql", "edge_address", "certificates", "backup", "celery")
    names = ("site", *(f"plays/{tier}" for tier in tiers))
    plays = [yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text()) for name in names]
    # The others are an inventory's to set, and what the playbook adds is added to them.
    assert variables_set(plays) - {*SETTINGS} == {*INSTEAD}


def test_the_types_are_described():
    assert {*PLAYS["__fabric_types"]} == {*TYPES}
    assert {setting["type"] for setting in SETTINGS.values()} == {*TYPES}


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


SITE = {
    "name": "shop",
    "server_names": ["shop.example"],
    "tls": {},
    "locations": [{"path": "/", "service": "inventory"}],
}
WITH_SITE = {"nginx_sites": [SITE], "fabric_ca_passphrase": secret(0)}


def test_an_edge_with_sites_has_nginx_its_ports_and_a_certificate():
    others = {host: {"fabric_ca_passphrase": secret(0)} for host in hosts()}
    found = drawn(**{**others, "edge1": WITH_SITE})
    assert found["problems"] == []
    mine = found["hosts"]["edge1"]
    assert {"__fabric_nginx", "__fabric_certified"} <= {*mine["groups"]}
    (rule,) = mine["firewall"]
    assert (rule["ports"], rule["from"]) == ([80, 443], "anywhere")
    assert 8405 in mine["reserved_ports"]
    assert mine["certificates"] == [
        {
            "name": "nginx",
            "unit": "nginx.service",
            "names": ["edge1", "shop.example"],
            "addresses": ["198.18.0.31"],
        }
    ]
    assert found["authority"] == "ctl1"


def test_an_edge_whose_sites_bring_their_certificates_needs_no_ca():
    own = {"certificate": "/etc/ssl/shop.pem", "key": "/etc/ssl/shop.key"}
    found = drawn(edge1={"nginx_sites": [{**SITE, "tls": own}]})
    assert (found["problems"], found["authority"]) == ([], None)
    assert found["hosts"]["edge1"]["certificates"] == []


def test_sites_that_cannot_be_meant_are_refused():
    bad = {**SITE, "locations": [{"path": "/", "service": "basket"}]}
    assert problems(edge1={**WITH_SITE, "nginx_sites": [bad]}) == [
        "edge1: nginx_sites[0].locations[0].service: this host's sidecar has no basket, it has:"
        " inventory, orders (site shop)"
    ]
    (line,) = problems(edge1={**WITH_SITE, "haproxy_services": ["orders"]})
    assert "this host's sidecar has no inventory, it has: orders" in line
    (line,) = problems(app1={"nginx_sites": [SITE]})
    assert line == (
        "app1: nginx_sites: nobody serves them here; only the hosts of the group edge have Nginx"
    )
    assert problems(edge1={"nginx_sites": "shop"}) == [
        "edge1: nginx_sites: expected a list, got a string"
    ]


def test_nginx_shares_no_port_with_the_sidecar():
    secrets = {host: {"fabric_ca_passphrase": secret(0)} for host in hosts()}
    services = [{"name": "inventory", "port": 443}]
    (line,) = drawn(**{**secrets, "edge1": {**WITH_SITE, "fabric_services": services}})["problems"]
    assert line.startswith(
        "edge1: nginx_sites: Nginx has port 443, which the sidecar for inventory"
    )
    (line,) = drawn(**{**secrets, "edge1": {**WITH_SITE, "nginx_status_port": 8404}})["problems"]
    assert line.startswith(
        "edge1: nginx_status_port: Nginx's status page has port 8404, which HAPr"
    )
