"""`registrar.json`: what is accepted, what is refused, and what is announced from it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reading import read
from selvage.fields import Invalid
from selvage.formats import znode
from selvage.formats.instance import Instance
from selvage.formats.registrations import Registration, Rules
from selvage.registrar.__main__ import main
from selvage.registrar.announcement import Announcement
from selvage.registrar.settings import CheckSettings, load, parse

DOCUMENT: dict[str, Any] = {
    "registry": {"hosts": ["198.18.0.11:2181"]},
    "node": "app1",
    "address": "198.18.0.21",
    "state_directory": "/var/lib/selvage-registrar",
    "instances": [
        {
            "service": "inventory",
            "port": 8080,
            "weight": None,
            "labels": {"zone": "a"},
            "drain": "5s",
            "check": {
                "type": "http",
                "path": "/health",
                "command": [],
                "interval": "1s",
                "timeout": "1s",
                "rise": 1,
                "fall": 2,
            },
        }
    ],
}


def test_the_documented_file_and_its_defaults_are_the_same() -> None:
    short = copy.deepcopy(DOCUMENT)
    del short["state_directory"], short["instances"][0]["drain"], short["instances"][0]["check"]
    assert parse(short) == parse(DOCUMENT)
    instance = parse(DOCUMENT).instances[0]
    assert instance.announcement == Announcement(
        "inventory", "app1", "198.18.0.21", 8080, None, {"zone": "a"}
    )
    assert instance.check == CheckSettings("http", "/health", (), 1.0, 1.0, 1, 2)
    assert instance.drain_s == 5.0


@pytest.mark.parametrize("node", ["App_2.example.net", "192.0.2.21", "a" * 253])
def test_names_as_inventories_have_them_are_read_back(node: str) -> None:
    announced = parse(DOCUMENT | {"node": node}).instances[0].announcement
    found = znode.parse(announced.child, announced.data)
    assert isinstance(found, Instance)
    assert (announced.child, found.endpoint.address) == (f"{node}_8080", "198.18.0.21")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node": "_app1"}, "node: expected a host name, got _app1"),
        ({"node": "app1/x"}, "node: expected a host name, got 'app1/x'"),
        ({"address": "app1"}, "address: expected an IP address"),
        ({"address": "0.0.0.0"}, "address: expected an IP address that clients can reach"),
        ({"address": "300.1.1.1"}, "address: expected an IP address that clients can reach"),
        ({"instance": []}, "instance: is not a known field; did you mean instances?"),
        ({"registry": {}}, "registry.hosts: is required"),
    ],
)
def test_what_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(DOCUMENT | change)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"service": "Inventory"}, "service: expected a service name"),
        ({"service": "../x"}, "service: expected a service name"),
        ({"port": 0}, "port: expected a whole number from 1 to 65535, got 0"),
        ({"weight": 257}, "weight: expected a whole number from 0 to 256, got 257"),
        ({"labels": {"zone": "a b"}}, "labels: expected keys and values such as"),
        ({"labels": {"zone": 1}}, "labels: expected keys and values such as"),
        ({"drain": "5"}, "drain: expected a duration"),
        ({"check": {"type": "ftp"}}, "check.type: expected one of http, tcp, exec, redis, mysql"),
        ({"check": {"type": "redis"}}, "check.role: is required with type redis: primary or"),
        ({"check": {"type": "mysql", "role": "slave"}}, "check.role: expected one of primary, "),
        ({"check": {"role": "primary"}}, "check.role: belongs to type redis or mysql, but the"),
        ({"check": {"user": "a"}}, "check.user: belongs to type redis or mysql, but the type is"),
        (
            {"check": {"type": "redis", "role": "replica", "socket": "/a"}},
            "check.socket: belongs to type mysql, but the type is redis",
        ),
        (
            {"check": {"type": "mysql", "role": "replica", "ca": "/a"}},
            "check.ca: belongs to type redis, but the type is mysql",
        ),
        (
            {"check": {"type": "redis", "role": "replica", "ca": "ca.pem"}},
            "check.ca: expected an absolute path",
        ),
        (
            {"check": {"type": "mysql", "role": "replica", "max_lag": "0s"}},
            "check.max_lag: expected a duration from 1s to 1h",
        ),
        ({"check": {"path": "/a b"}}, "check.path: expected a path such as /health"),
        ({"check": {"path": "/\r\nHost: x"}}, "check.path: expected a path such as /health"),
        ({"check": {"type": "exec"}}, "check.command: is required with type exec"),
        (
            {"check": {"type": "exec", "command": ["true"]}},
            "check.command[0]: expected an absolute path, got 'true'",
        ),
        (
            {"check": {"command": ["/bin/true"]}},
            "check.command: belongs to type exec, not http",
        ),
        ({"check": {"interval": "1ms"}}, "check.interval: expected a duration from 100ms"),
        ({"check": {"intervall": "1s"}}, "check.intervall: is not a known field"),
    ],
)
def test_what_is_refused_of_an_instance(change: dict[str, Any], message: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["instances"][0] |= change
    with pytest.raises(Invalid) as caught:
        parse(document)
    assert str(caught.value).startswith(f"instances[0].{message}")


def test_checks_that_ask_for_a_role() -> None:
    document = copy.deepcopy(DOCUMENT)
    found = []
    for check in (
        {"type": "redis", "role": "replica", "user": "check", "ca": "/ca.pem", "max_lag": "5s"},
        {"type": "mysql", "role": "primary", "fall": 1},
    ):
        document["instances"][0]["check"] = check
        found.append(parse(document).instances[0].check)
    redis, mysql = found
    assert (redis.role, redis.user, redis.ca, redis.max_lag_s) == ("replica", "check", "/ca.pem", 5)
    assert (mysql.role, mysql.user, mysql.socket, mysql.max_lag_s) == (
        "primary",
        "selvage-registrar",
        "/run/mysqld/mysqld.sock",
        10,
    )


def test_the_same_service_and_port_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="the service and port inventory:8080 stands twice"):
        parse(DOCUMENT | {"instances": DOCUMENT["instances"] * 2})


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ("[]", "expected a JSON object"), (None, "No such")],
)
def test_a_file_that_is_refused_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "registrar.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Invalid) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_check_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "registrar.json"
    path.write_text(json.dumps(DOCUMENT))
    assert main(["--config", str(path), "--check"]) == 0
    assert capsys.readouterr().out == f"{path}: valid, instances: 1\n"
    path.write_text(json.dumps(DOCUMENT | {"node": ""}))
    assert main(["--config", str(path), "--check"]) == 2
    assert capsys.readouterr().err == f"{path}: node: expected a host name, got ''\n"


def test_the_bytes_are_nerves() -> None:
    announcement = Announcement("s", "app1", "198.18.0.21", 8080, 10, {"zone": "a", "az": "b"})
    assert announcement.child == "app1_8080"
    assert announcement.data == (
        b'{"host":"198.18.0.21","port":8080,"name":"app1","weight":10,'
        b'"labels":{"az":"b","zone":"a"}}'
    )
    bare = Announcement("s", "app1", "198.18.0.21", 8080)
    assert bare.data == b'{"host":"198.18.0.21","port":8080,"name":"app1"}'


LABELS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(
    node=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", fullmatch=True),
    address=st.sampled_from(["198.18.0.21", "2001:db8::1", "127.0.0.1"]),
    port=st.integers(1, 65535),
    weight=st.none() | st.integers(0, 256),
    labels=st.dictionaries(LABELS, LABELS, max_size=5),
)
def test_readers_understand_all_that_is_announced(
    node: str, address: str, port: int, weight: int | None, labels: dict[str, str]
) -> None:
    instance = {"service": "s", "port": port, "weight": weight, "labels": labels}
    settings = parse(DOCUMENT | {"node": node, "address": address, "instances": [instance]})
    announcement = settings.instances[0].announcement
    reading = read({announcement.child: announcement.data}, Rules(None, None))
    assert reading.registrations == (
        Registration(f"{node}_{port}", address, port, weight=weight, labels=labels),
    )
