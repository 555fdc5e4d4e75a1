"""Curator's ServiceDiscovery and Spring Cloud Zookeeper, in the forms that they write."""

import json

import pytest

from reading import hosts, read
from selvage.formats.registrations import Reading, Refusal, Registration, Rules

ID = "6d4e5121-6c17-4023-8f7b-8922f8b70cae"
# Jackson's order of the fields; `enabled` is written in the non-compatible mode only.
CURATOR = {
    "name": "inventory",
    "id": ID,
    "address": "10.0.0.1",
    "port": 8005,
    "sslPort": None,
    "payload": None,
    "registrationTimeUTC": 1610116500446,
    "serviceType": "DYNAMIC",
    "uriSpec": {
        "parts": [
            {"value": "scheme", "variable": True},
            {"value": "://", "variable": False},
            {"value": "address", "variable": True},
            {"value": ":", "variable": False},
            {"value": "port", "variable": True},
        ]
    },
}
RULES = Rules(instance_port=80, endpoint=None)
PLAIN = Registration(ID, "10.0.0.1", 8005)


def curator(**fields):
    return read({ID: json.dumps(CURATOR | fields).encode()}, RULES)


def spring(**metadata):
    zookeeper_instance = "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance"
    payload = {
        "@class": zookeeper_instance,
        "id": "application-1",
        "name": "inventory",
        "metadata": metadata,
    }
    return curator(payload=payload)


def refusal(reading):
    assert reading.registrations == reading.out_of_service == ()
    (refused,) = reading.refusals
    assert refused.child == ID
    return refused.reason


def out_of_service(reading):
    assert reading.registrations == reading.refusals == ()
    (resting,) = reading.out_of_service
    assert resting.child == ID
    return resting.reason


def test_an_instance():
    assert curator() == Reading((PLAIN,))


@pytest.mark.parametrize(
    "payload",
    [
        None, "text", "", 5, 1.5, True, [], ["java.util.ArrayList", ["a"]], {}, {"metadata": None},
        {"metadata": "text"}, {"metadata": ["instance_status"]}, {"@class": "a.B", "value": "\n%;"},
        {"@class": "a.B", "host": "10.6.6.6", "serviceEndpoint": {}, "vector": []},
    ],
)  # fmt: skip
def test_the_payload_is_free(payload):
    assert curator(payload=payload) == Reading((PLAIN,))


def test_both_modes_of_the_serializer():
    assert curator(enabled=True) == curator()
    assert out_of_service(curator(enabled=False)) == "enabled is false"


@pytest.mark.parametrize("enabled", [None, 0, 1, "true", "", [], {}])
def test_enabled_is_true_or_false(enabled):
    # Jackson reads null as false.
    assert refusal(curator(enabled=enabled)).startswith("enabled: expected true or false, got ")


@pytest.mark.parametrize("status", ["UP", "up", "Up", "", " ", None])
def test_where_spring_sends_traffic(status):
    (registration,) = spring(instance_status=status).registrations
    assert registration.address == "10.0.0.1"


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("OUT_OF_SERVICE", '"OUT_OF_SERVICE"'),
        ("DOWN", '"DOWN"'),
        ("UP\n", '"UP\\n"'),
        ("x" * 1_000, f'"{"x" * 116}...'),
    ],
)
def test_where_spring_sends_none(status, shown):
    assert out_of_service(spring(instance_status=status)) == f"instance_status is {shown}"


@pytest.mark.parametrize("status", [True, 1, ["UP"], {"status": "UP"}])
def test_a_status_that_is_no_text(status):
    assert refusal(spring(instance_status=status)).startswith("instance_status: expected a word")


def test_metadata_become_labels_where_they_fit():
    (registration,) = spring(
        instance_status="UP", zone="a", note="two words", number=5, **{"a\nb": "c", "": "d"}
    ).registrations
    assert registration.labels == {"instance_status": "UP", "zone": "a"}


def test_at_most_64_labels():
    (registration,) = spring(**{f"k{n:03}": "v" for n in range(100)}).registrations
    assert list(registration.labels) == [f"k{n:03}" for n in range(64)]


def test_tls_only():
    expected = "port: is null, and sslPort is set: the instance takes TLS only"
    assert refusal(curator(port=None, sslPort=8443)) == expected


def test_beside_tls_the_plain_port_counts():
    assert curator(sslPort=8443) == Reading((PLAIN,))


@pytest.mark.parametrize("port", [None, 0, -1, 65_536, "8005", 8005.0, True, [8005]])
def test_ports_have_a_range(port):
    expected = "expected a whole number from 1 to 65535, got "
    assert refusal(curator(port=port)).startswith(f"port: {expected}")
    if port is not None:
        assert refusal(curator(sslPort=port)).startswith(f"sslPort: {expected}")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"address": None}, "address: expected an IP address or a host name, got null"),
        ({"address": 1}, "address: expected an IP address or a host name, got 1"),
        ({"address": "a b"}, "address: a b is neither an IP address nor a host name"),
        ({"address": "0.0.0.0"}, "address: 0.0.0.0 is unspecified, multicast or reserved"),
        ({"name": "a b"}, 'name: expected one word, got "a b"'),
        ({"id": 5}, "id: expected one word, got 5"),
        ({"registrationTimeUTC": "now"}, "registrationTimeUTC: expected a whole number from 0"),
        ({"registrationTimeUTC": -1}, "registrationTimeUTC: expected a whole number from 0"),
        ({"registrationTimeUTC": None}, "registrationTimeUTC: expected a whole number from 0"),
        ({"serviceType": "OTHER"}, 'serviceType: is none of Curator\'s, got "OTHER"'),
        ({"serviceType": ["STATIC"]}, "serviceType: is none of Curator's, got a list of 1"),
        ({"uriSpec": "http://a"}, 'uriSpec: expected a mapping, got "http://a"'),
        ({"status": "DOWN"}, "status: is not a field that Curator writes"),
        ({"weight": 5}, "weight: is not a field that Curator writes"),
        ({"a\n;": 5}, "a\\n;: is not a field that Curator writes"),
    ],
)
def test_what_does_not_fit_is_refused(fields, expected):
    assert refusal(curator(**fields)).startswith(expected)


@pytest.mark.parametrize("kind", [None, "DYNAMIC", "STATIC", "PERMANENT", "DYNAMIC_SEQUENTIAL"])
def test_types_of_services(kind):
    assert curator(serviceType=kind) == curator()


def test_only_address_and_port_are_required():
    assert read({ID: b'{"address":"10.0.0.1","port":8005}'}, RULES) == Reading((PLAIN,))
    assert refusal(read({ID: b'{"address":"10.0.0.1"}'}, RULES)).startswith("port: ")


def test_a_name_is_resolved():
    children = {ID: json.dumps(CURATOR | {"address": "Desktop-26GC398"}).encode()}
    assert hosts(children) == {"desktop-26gc398"}
    assert read(children, RULES, {"desktop-26gc398": "10.0.0.1"}) == Reading((PLAIN,))
    assert refusal(read(children, RULES)) == "the name desktop-26gc398 cannot be resolved"


def test_out_of_service_needs_no_address():
    fields = {"address": "app1", "enabled": False}
    assert out_of_service(curator(**fields)) == "enabled is false"


def test_of_duplicates_the_one_registered_last_counts():
    def znode(time, **fields):
        return json.dumps(CURATOR | {"registrationTimeUTC": time} | fields).encode()

    reading = read({"a": znode(3), "b": znode(1), "c": znode(2)}, RULES)
    assert [found.child for found in reading.registrations] == ["a"]
    assert reading.refusals == (
        Refusal("b", "the same address and port as a"),
        Refusal("c", "the same address and port as a"),
    )


def test_the_status_of_the_newest_counts():
    old = json.dumps(CURATOR | {"registrationTimeUTC": 1, "enabled": True}).encode()
    new = json.dumps(CURATOR | {"registrationTimeUTC": 2, "enabled": False}).encode()
    assert read({"b": old, "a": new}, RULES) == Reading(
        (), (Refusal("b", "the same address and port as a"),), (Refusal("a", "enabled is false"),)
    )
    assert read({"a": old, "b": new}, RULES).out_of_service[0].child == "b"
    assert read({"a": old, "b": new}, RULES).registrations == ()
