import dataclasses
from pathlib import Path

import pytest
import yaml
from ansible_modules import load
from hypothesis import given

from selvage.catalogue import Breaker, Check, Guards, Service, Timeouts, Zone, find, parse_services
from selvage.fields import Invalid
from selvage.registrar.settings import CheckSettings
from strategies import anything, catalogues

ROOT = Path(__file__).parents[2]


def parse(**fields):
    (service,) = parse_services([{"name": "inventory", "port": 3000} | fields])
    return service


def refused(raw):
    with pytest.raises(Invalid) as caught:
        parse_services(raw)
    return str(caught.value)


def refused_with(**fields):
    return refused([{"name": "inventory", "port": 3000} | fields])


def test_the_defaults():
    assert parse() == Service(
        name="inventory",
        port=3000,
        mode="http",
        balance="roundrobin",
        check=Check("http", "/health", 2_000, 1_000, 2, 3, None),
        timeouts=Timeouts(None, None, None),
        breaker=None,
        instance_port=None,
        max_connections=None,
        drain_ms=30_000,
        guards=Guards(
            allow_empty=False,
            min_servers=1,
            max_loss=100,
            window_ms=60_000,
            max_registrations=1_000,
        ),
        zone=Zone(label="zone", others="equal", weight=10),
        endpoint=None,
    )


def test_every_field():
    service = parse(
        mode="tcp",
        balance="leastconn",
        check={
            "type": "mysql", "user": "check", "interval": "1s", "timeout": "500ms",
            "rise": 1, "fall": 2,
        },
        timeouts={"connect": "1s", "client": "1h", "server": "2h"},
        breaker={
            "observe": "layer4", "error_limit": 5, "on_error": "fastinter", "queue": 9,
            "wait": "1s", "slow_start": "10s",
        },
        instance_port=3306,
        max_connections=50,
        drain="0s",
        guards={
            "allow_empty": True,
            "min_servers": 2,
            "max_loss": "50",
            "window": "5m",
            "max_registrations": 2,
        },
        zone={"label": "dc", "others": "weighted", "weight": 25},
        endpoint="admin",
    )  # fmt: skip
    assert service == Service(
        name="inventory",
        port=3000,
        mode="tcp",
        balance="leastconn",
        check=Check("mysql", "", 1_000, 500, 1, 2, "check"),
        timeouts=Timeouts(1_000, 3_600_000, 7_200_000),
        breaker=Breaker("layer4", 5, "fastinter", 9, 1_000, 10_000),
        instance_port=3306,
        max_connections=50,
        drain_ms=0,
        guards=Guards(
            allow_empty=True, min_servers=2, max_loss=50, window_ms=300_000, max_registrations=2
        ),
        zone=Zone("dc", "weighted", 25),
        endpoint="admin",
    )


def test_the_check_follows_the_mode():
    assert parse(mode="tcp").check.type == "tcp"
    assert parse(mode="tcp").check.path == ""
    assert parse(check={"type": "tcp"}).check.path == ""
    assert parse(mode="tcp", check={"type": "http"}).check.path == "/health"


def test_a_breaker_has_defaults():
    assert parse(breaker={"observe": "layer4"}).breaker == Breaker("layer4", 10, "mark-down")
    assert parse(breaker={"error_limit": 3}).breaker == Breaker("layer7", 3)
    service = parse(mode="tcp", breaker={"error_limit": 3}, max_connections=10)
    assert service.breaker == Breaker("layer4", 3, "mark-down", 100, 500, 0)
    assert service.timeouts == Timeouts()


@pytest.mark.parametrize(
    "fields",
    [
        "check",
        "timeouts",
        "breaker",
        "guards",
        "zone",
        "endpoint",
        "instance_port",
        "max_connections",
    ],
)
def test_null_counts_as_absent(fields):
    assert parse(**{fields: None}) == parse()


def test_nulls_within_count_as_absent():
    nulls = parse(
        check={"path": None, "user": None},
        timeouts={"connect": None},
        breaker={"error_limit": None, "observe": None, "queue": None},
    )
    assert nulls == parse()


@pytest.mark.parametrize("raw", [None, []])
def test_no_services(raw):
    assert parse_services(raw) == ()


def test_the_order_of_the_input_does_not_matter():
    entries = [{"name": name, "port": port} for name, port in (("b", 2), ("a", 3), ("c", 1))]
    assert [service.name for service in parse_services(entries)] == ["a", "b", "c"]
    assert parse_services(entries) == parse_services(entries[::-1])


@pytest.mark.parametrize(
    "name",
    ["", "Inventory", "a b", "a.b", "-a", "_a", "a\n", "a;b", "é", "a" * 64, 5, ["a"], "a/b", "a%"],
)
def test_names_are_plain(name):
    assert refused_with(name=name).startswith("services[0].name: expected lower-case letters")


def test_the_longest_name():
    assert parse(name="a" * 63).name == "a" * 63


@pytest.mark.parametrize("port", [0, 65_536, -1, 1.5, True, "http", "80 "])
def test_ports_have_a_range(port):
    assert refused_with(port=port).startswith("services[0].port: expected a whole number")


def test_names_and_ports_stand_once():
    assert refused([{"name": "a", "port": 1}, {"name": "a", "port": 2}]) == (
        "services: the name a stands twice"
    )
    assert refused([{"name": "a", "port": 1}, {"name": "b", "port": 1}]) == (
        "services: the port 1 stands twice"
    )


@pytest.mark.parametrize(
    "path",
    [
        "", "health", "/a b", "/a\n", "/a\tb", '/"', "/'", "/#", "/\\", "/$HOME", "/a;b", "/é",
        "/" + "a" * 255, 5,
    ],
)  # fmt: skip
def test_check_paths_hold_nothing_that_haproxy_interprets(path):
    assert refused_with(check={"path": path}).startswith("services[0].check.path: expected a path")


@pytest.mark.parametrize("path", ["/", "/a/b.c?x=1&y=%20", "/" + "a" * 254])
def test_check_paths(path):
    assert parse(check={"path": path}).check.path == path


@pytest.mark.parametrize("user", ["", "a b", "a\n", "a;", "root'", "é", "a" * 33])
def test_check_users_are_plain(user):
    message = refused_with(mode="tcp", check={"type": "mysql", "user": user})
    assert message.startswith("services[0].check.user: expected letters")


@pytest.mark.parametrize(
    "path", ["", "ca.pem", "/a b", "/a\n", "/a'", '/"', "/#", "/a\\", "/$HOME", "/a;b", "/a" * 128]
)
def test_files_of_a_ca_are_plain(path):
    check = {"type": "redis", "role": "primary", "ca": path}
    message = refused_with(mode="tcp", check=check)
    assert message.startswith("services[0].check.ca: expected an absolute path of letters")


def test_checks_that_ask_for_a_role():
    redis = {"type": "redis", "role": "replica", "user": "check", "ca": "/etc/selvage/tls/ca.pem"}
    assert parse(mode="tcp", check=redis).check == Check(
        "redis", "", user="check", role="replica", ca="/etc/selvage/tls/ca.pem"
    )
    mysql = {"type": "mysql", "role": "primary", "user": "haproxy_check"}
    expected = Check("mysql", "", user="haproxy_check", role="primary", flavour="mariadb")
    assert parse(mode="tcp", check=mysql).check == expected
    # Without a role they are what they were.
    assert parse(mode="tcp", check={"type": "redis"}).check == Check("redis", "")
    assert parse(mode="tcp", check={"type": "mysql"}).check == Check("mysql", "")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "udp"}, "mode: expected one of http, tcp, got udp"),
        ({"balance": "static-rr"}, "balance: expected one of roundrobin, leastconn"),
        ({"check": {"type": "mysql"}}, "check.type: mysql needs mode tcp"),
        ({"check": {"type": "redis"}}, "check.type: redis needs mode tcp"),
        (
            {"check": {"type": "tcp", "path": "/"}},
            "check.path: belongs to type http, but the type is tcp",
        ),
        (
            {"check": {"user": "a"}},
            "check.user: belongs to type mysql or redis, but the type is http",
        ),
        *(
            ({"mode": "tcp", "check": check}, f"check.{message}")
            for check, message in (
                ({"role": "primary"}, "role: belongs to type mysql or redis, but the type is tcp"),
                ({"type": "redis", "role": "master"}, "role: expected one of primary, replica"),
                ({"type": "redis", "user": "a"}, "user: has no effect without role: primary or"),
                ({"type": "redis", "ca": "/a"}, "ca: has no effect without role: primary or"),
                ({"type": "mysql", "flavour": "mysql"}, "flavour: has no effect without role"),
                ({"type": "mysql", "role": "replica"}, "user: is required with a role"),
                ({"type": "mysql", "ca": "/a"}, "ca: belongs to type redis, but the type is mysql"),
                (
                    {"type": "redis", "role": "primary", "flavour": "mysql"},
                    "flavour: belongs to type mysql, but the type is redis",
                ),
                (
                    {"type": "mysql", "role": "primary", "user": "a", "flavour": "postgres"},
                    "flavour: expected one of mariadb, mysql, got postgres",
                ),
            )
        ),
        ({"check": {"interval": "1ms"}}, "check.interval: expected a duration from 50ms"),
        ({"check": {"rise": 0}}, "check.rise: expected a whole number"),
        ({"check": {"inter": "1s"}}, "check.inter: is not a known field"),
        (
            {"mode": "tcp", "breaker": {"error_limit": 1, "observe": "layer7"}},
            "breaker.observe: layer7 needs mode http",
        ),
        ({"breaker": {"queue": 5}}, "breaker.queue: has no effect without observe"),
        ({"breaker": {"wait": "1s"}}, "breaker.wait: has no effect without observe"),
        ({"breaker": {"slow_start": "1s"}}, "breaker.slow_start: has no effect without observe"),
        ({"breaker": {"observe": "layer5"}}, "breaker.observe: expected one of layer4, layer7"),
        (
            {"breaker": {"errors": 5}},
            "breaker.errors: is not a known field; did you mean on_error?",
        ),
        (
            {"breaker": {"error_limit": 0}},
            "breaker.error_limit: expected a whole number from 1 to 1000",
        ),
        (
            {"breaker": {"error_limit": 1, "queue": 0}},
            "breaker.queue: expected a whole number from 1",
        ),
        (
            {"breaker": {"error_limit": 1, "wait": "1ms"}},
            "breaker.wait: expected a duration from 10ms",
        ),
        (
            {"breaker": {"error_limit": 1, "slow_start": "1h"}},
            "breaker.slow_start: expected a duration",
        ),
        (
            {"breaker": {"error_limit": 1, "queue": 5}},
            "breaker.queue: has no effect without the service's max_connections",
        ),
        (
            {"breaker": {"error_limit": 1}, "max_connections": 1, "guards": {"max_servers": 1}},
            "breaker: is not for a service with one role",
        ),
        (
            {
                "mode": "tcp",
                "breaker": {"error_limit": 1},
                "max_connections": 1,
                "check": {"type": "redis", "role": "replica"},
            },
            "breaker: is not for a service with one role",
        ),
        ({"timeouts": {"queue": "1s"}}, "timeouts.queue: is not a known field"),
        ({"timeouts": {"client": "0s"}}, "timeouts.client: expected a duration"),
        ({"guards": {"allow_emtpy": True}}, "guards.allow_emtpy: is not a known field; did you"),
        ({"guards": {"allow_empty": "no"}}, "guards.allow_empty: expected true or false, got no"),
        ({"guards": {"min_servers": 0}}, "guards.min_servers: expected a whole number from 1 to"),
        ({"guards": {"max_loss": 101}}, "guards.max_loss: expected a whole number from 1 to 100"),
        ({"guards": {"window": "25h"}}, "guards.window: expected a duration from 1s to 24h"),
        ({"guards": {"max_registrations": 0}}, "guards.max_registrations: expected a whole number"),
        (
            {"guards": {"min_servers": 9, "max_registrations": 8}},
            "guards.max_registrations: is below min_servers, 9",
        ),
        ({"guards": {"max_servers": 2}}, "guards.max_servers: can be 1 and nothing else"),
        ({"guards": {"max_servers": 0}}, "guards.max_servers: expected a whole number"),
        (
            {"guards": {"max_servers": 1, "min_servers": 2}},
            "guards.min_servers: is above max_servers, 1",
        ),
        (
            {"guards": {"max_servers": 1, "max_loss": 50}},
            "guards.max_loss: has no effect with max_servers: 1; leave it out",
        ),
        (
            {"guards": {"max_servers": 1}, "zone": {"others": "backup"}},
            "zone.others: has no effect with guards.max_servers: 1; leave it out",
        ),
        ({"guards": {"min_servers": 1_001}}, "guards.max_registrations: is below min_servers"),
        ({"zone": {"others": "none"}}, "zone.others: expected one of equal, backup, weighted"),
        ({"zone": {"weight": 5}}, "zone.weight: has no effect without others: weighted"),
        (
            {"zone": {"others": "weighted", "weight": 100}},
            "zone.weight: expected a whole number from 1 to 99",
        ),
        ({"zone": {"label": "a b"}}, "zone.label: expected letters"),
        ({"endpoint": "a b"}, "endpoint: expected letters"),
        ({"instance_port": 0}, "instance_port: expected a whole number from 1 to 65535, got 0"),
        ({"max_connections": 0}, "max_connections: expected a whole number"),
        ({"drain": 5}, "drain: expected a duration"),
        ({"instances": 5}, "instances: is not a known field; did you mean instance_port?"),
        ({"check": "/health"}, "check: expected a mapping, got a string"),
    ],
)
def test_refusals_name_the_place(fields, message):
    assert refused_with(**fields).startswith(f"services[0].{message}")


def test_the_caller_names_the_place_of_the_list():
    with pytest.raises(Invalid, match=r"^fabric_services\[0\]\.name: is required$"):
        parse_services([{"port": 1}], "fabric_services")


def test_a_service_that_is_not_there_has_close_names():
    services = parse_services([{"name": "inventory", "port": 1}, {"name": "orders", "port": 2}])
    assert find(services, "orders") is services[1]
    with pytest.raises(Invalid, match=r"^'inventry' is not in .*; did you mean inventory\?$"):
        find(services, "inventry")
    with pytest.raises(Invalid, match=r"^'x\\n' is not in .*; selvage status lists what is$"):
        find(services, "x\n")


@pytest.mark.parametrize("raw", ["inventory", {"name": "a"}, 5])
def test_the_catalogue_is_a_list(raw):
    assert refused(raw).startswith("services: expected a list")


@given(anything)
def test_whatever_the_input_it_is_parsed_or_refused(raw):
    try:
        parse_services(raw)
    except Invalid as error:
        assert "\n" not in str(error)


@given(catalogues())
def test_a_catalogue_is_sorted_and_unique(services):
    assert list(services) == sorted(services, key=lambda service: service.name)
    assert len({service.port for service in services}) == len(services)


def test_what_ansible_lets_through_knows_every_field_of_a_check():
    """Ansible refuses what no argument spec has."""
    fields = {field.name.removesuffix("_ms") for field in dataclasses.fields(Check)}
    assert load("haproxy_backends").CHECK.keys() == fields
    for role, options, known in (
        ("reconciler", "reconciler_services", fields),
        (
            "registrar",
            "registrar_instances",
            {field.name.removesuffix("_s") for field in dataclasses.fields(CheckSettings)},
        ),
    ):
        text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text()
        spec = yaml.safe_load(text)["argument_specs"]["main"]["options"][options]
        assert spec["options"]["check"]["options"].keys() == known
