"""Twitter's ServerSets: members and weights, in the forms that they are written."""

import json

import pytest

from reading import hosts, read
from selvage.formats.registrations import Reading, Refusal, Registration, Rules

CHILD = "member_0000000007"
# As Finagle's ServerSetImpl writes it.
MEMBER = {
    "serviceEndpoint": {"host": "10.0.0.3", "port": 80},
    "additionalEndpoints": {
        "aurora": {"host": "10.0.0.1", "port": 81},
        "http": {"host": "10.0.0.2", "port": 82},
    },
    "status": "ALIVE",
    "shard": 0,
    "metadata": {"zone": "a"},
}
RULES = Rules(instance_port=8080, endpoint=None)
HTTP = Rules(instance_port=8080, endpoint="http")


def member(rules=RULES, **fields):
    return read({CHILD: json.dumps(MEMBER | fields).encode()}, rules)


def registration(reading):
    assert reading.refusals == reading.out_of_service == ()
    (found,) = reading.registrations
    return found


def refusal(reading):
    assert reading.registrations == reading.out_of_service == ()
    (refused,) = reading.refusals
    return refused.reason


def out_of_service(reading):
    assert reading.registrations == reading.refusals == ()
    return reading.out_of_service


def weights(*vectors, rules=RULES, **members):
    """The weight of each member's port, with vectors of rising sequence number beside them."""
    children = {
        name: json.dumps(MEMBER | {"serviceEndpoint": {"host": "10.0.0.1", "port": port}} | fields)
        for port, (name, fields) in enumerate(members.items(), 1)
    }
    for number, vector in enumerate(vectors):
        children[f"vector_{number:010}"] = json.dumps({"vector": vector})
    reading = read({child: text.encode() for child, text in children.items()}, rules)
    return {found.child: found.weight for found in reading.registrations}, reading.refusals


def test_a_member():
    assert member() == Reading((Registration(CHILD, "10.0.0.3", 80, labels={"zone": "a"}),))


def test_older_forms_and_those_of_twitter_commons():
    least = {"status": "ALIVE", "serviceEndpoint": {"host": "10.0.0.3", "port": 80}}
    for fields in (
        {"additionalEndpoints": {}},
        {"additionalEndpoints": {}, "shard": 4},
        {"additionalEndpoints": {}, "shard": None, "metadata": None},
        {"additionalEndpoints": {}, "member_id": 7},
        {},
    ):
        data = json.dumps(least | fields).encode()
        assert read({CHILD: data}, RULES) == Reading((Registration(CHILD, "10.0.0.3", 80),))


@pytest.mark.parametrize(
    "status",
    ["DEAD", "STARTING", "STOPPING", "STOPPED", "WARNING", "UNKNOWN", "UNREGISTERED", "up"],
)
def test_only_the_living_get_traffic(status):
    expected = (Refusal(CHILD, f"status is {status}"),)
    assert out_of_service(member(status=status)) == expected


@pytest.mark.parametrize("status", [None, "", "a b", "ALIVE\n", 2, True, ["ALIVE"], {}])
def test_the_status_is_a_word(status):
    assert refusal(member(status=status)).startswith("status: expected one word, got ")


def test_the_status_is_required():
    data = b'{"serviceEndpoint":{"host":"10.0.0.3","port":80}}'
    assert refusal(read({CHILD: data}, RULES)) == "status: expected one word, got null"


def test_a_named_endpoint():
    found = registration(member(HTTP))
    assert (found.address, found.port) == ("10.0.0.2", 82)


def test_a_named_endpoint_that_a_member_does_not_have():
    for more in ({}, None, {"https": {"host": "10.0.0.1", "port": 81}}):
        assert refusal(member(HTTP, additionalEndpoints=more)) == "has no additional endpoint http"
    assert out_of_service(member(HTTP, additionalEndpoints={}, status="DEAD"))


def test_a_named_endpoint_concerns_only_members():
    children = {"10.0.0.9:80": b"", "i-1": b'{"host":"10.0.0.8","port":80}'}
    reading = read(children, HTTP)
    assert [found.address for found in reading.registrations] == ["10.0.0.8", "10.0.0.9"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"serviceEndpoint": None}, "serviceEndpoint: expected a mapping, got null"),
        ({"serviceEndpoint": "10.0.0.1:80"}, "serviceEndpoint: expected a mapping, got "),
        ({"serviceEndpoint": {}}, "serviceEndpoint.host: expected an IP address or a host name"),
        ({"serviceEndpoint": {"host": "a", "port": "1"}}, "serviceEndpoint.port: expected a whole"),
        ({"serviceEndpoint": {"host": "a b", "port": 1}}, "serviceEndpoint.host: a b is neither"),
        (
            {"serviceEndpoint": {"host": "a", "port": 1, "tls": True}},
            "tls: is not a field that a ServerSet writes",
        ),
        (
            {"serviceEndpoint": {"host": "a", "port": 1, "inet": "b"}},
            'serviceEndpoint.inet: expected an IP address, got "b"',
        ),
        (
            {"serviceEndpoint": {"host": "a", "port": 1, "inet6": "::"}},
            "serviceEndpoint.inet6: :: is unspecified",
        ),
        (
            {"additionalEndpoints": {"http": {"host": "0.0.0.0", "port": 1}}},
            "additionalEndpoints.http.host: 0.0.0.0 is unspecified",
        ),
        ({"additionalEndpoints": {"a b": {"host": "a", "port": 1}}}, "additionalEndpoints: "),
        ({"additionalEndpoints": []}, "additionalEndpoints: expected at most 64, got a list of 0"),
        (
            {"additionalEndpoints": {str(n): {"host": "a", "port": 1} for n in range(65)}},
            "additionalEndpoints: expected at most 64, got a mapping of 65",
        ),
        ({"shard": "0"}, "shard: expected a whole number from 0 to 2147483647, got "),
        ({"shard": -1}, "shard: expected a whole number from 0 to 2147483647, got "),
        ({"member_id": "7"}, "member_id: expected a whole number from 0 to 2147483647, got "),
        ({"weight": 5}, "weight: is not a field that a ServerSet writes"),
        ({"host": "10.0.0.1"}, "serviceEndpoint: is not a field that nerve writes"),
    ],
)
def test_what_does_not_fit_is_refused(fields, expected):
    assert refusal(member(**fields)).startswith(expected)


@pytest.mark.parametrize("metadata", [None, "text", 5, [], {}, {"a": 5, "b\n": "c", "d": "e f"}])
def test_odd_metadata_is_ignored(metadata):
    assert registration(member(metadata=metadata)).labels == {}


def test_a_name_is_resolved_unless_its_address_stands_beside():
    children = {
        "member_0000000001": {"host": "app1", "port": 80},
        "member_0000000002": {"host": "app2", "port": 80, "inet": "10.0.0.2"},
        "member_0000000003": {"host": "app3", "port": 80, "inet6": "2001:db8::3"},
        "member_0000000004": {"host": "10.0.0.4", "port": 80, "inet": "10.6.6.6"},
    }
    more = {"http": {"host": "http.example.org", "port": 81}}
    children = {
        child: json.dumps(
            MEMBER | {"serviceEndpoint": endpoint, "additionalEndpoints": more}
        ).encode()
        for child, endpoint in children.items()
    }
    assert hosts(children, RULES) == {"app1"}
    assert hosts(children, HTTP) == {"http.example.org"}
    reading = read(children, RULES, {"app1": "10.0.0.1"})
    assert [found.address for found in reading.registrations] == [
        "10.0.0.1", "10.0.0.2", "10.0.0.4", "2001:db8::3",
    ]  # fmt: skip


# Weights


def test_weights_by_every_selector():
    found, refusals = weights(
        [
            {"select": "shard=1", "weight": 0.5, "priority": 1},
            {"select": "member=member_b", "weight": 2, "priority": 1},
            {"select": "inet=10.0.0.1:3", "weight": 0},
            {"select": "shard=4"},
        ],
        member_a={"shard": 1},
        member_b={"shard": 2},
        member_c={"shard": 3},
        member_d={"shard": 4},
        member_e={"shard": 5},
        member_f={"shard": None},
    )
    assert refusals == ()
    assert found == {
        "member_a": 0.5,
        "member_b": 2,
        "member_c": 0,
        "member_d": 1,
        "member_e": None,
        "member_f": None,
    }


def test_weights_multiply():
    # As in Finagle's VectorTest.
    found, _ = weights(
        [{"select": "inet=10.0.0.1:1", "weight": 1.2}, {"select": "member=a", "weight": 2.1}], a={}
    )
    assert found == {"a": 1.2 * 2.1}
    found, _ = weights(
        [{"select": "shard=0", "weight": 1_000_000}, {"select": "member=a", "weight": 9}], a={}
    )
    assert found == {"a": 1_000_000}
    found, _ = weights(
        [{"select": "shard=0", "weight": 1e-300}, {"select": "member=a", "weight": 1e-300}], a={}
    )
    assert found == {"a": 0.000_001}


def test_the_newest_vector_counts_per_selector():
    found, _ = weights(
        [{"select": "shard=1", "weight": 0.1}, {"select": "shard=2", "weight": 0.2}],
        [{"select": "shard=1", "weight": 0.3}],
        a={"shard": 1},
        b={"shard": 2},
    )
    assert found == {"a": 0.3, "b": 0.2}


def test_the_order_of_reading_does_not_matter():
    vectors = {
        "vector_0000000010": b'{"vector":[{"select":"shard=0","weight":0.5}]}',
        "vector_0000000009": b'{"vector":[{"select":"shard=0","weight":0.25}]}',
        CHILD: json.dumps(MEMBER).encode(),
    }
    for children in (vectors, dict(reversed(vectors.items()))):
        assert registration(read(children, RULES)).weight == 0.5


def test_a_weight_belongs_to_the_endpoint_in_use():
    vector = [{"select": "inet=10.0.0.2:82", "weight": 0.5}]
    assert weights(vector, a={})[0] == {"a": None}
    assert weights(vector, a={}, rules=HTTP)[0] == {"a": 0.5}


def test_a_weight_by_a_name():
    children = {
        "member_1": json.dumps(MEMBER | {"serviceEndpoint": {"host": "App1", "port": 80}}).encode(),
        "vector_1": b'{"vector":[{"select":"inet=aPP1:80","weight":0.5}]}',
    }
    assert registration(read(children, RULES, {"app1": "10.0.0.1"})).weight == 0.5


def test_a_weight_by_an_ipv6_address():
    children = {
        "member_1": json.dumps(MEMBER | {"serviceEndpoint": {"host": "::1", "port": 80}}).encode(),
        "vector_1": b'{"vector":[{"select":"inet=[0::1]:80","weight":0.5}]}',
    }
    assert registration(read(children, RULES)).weight == 0.5


def test_weights_are_for_members_alone():
    children = {
        "member=1": b'{"host":"10.0.0.1","port":80,"weight":7}',
        "vector_1": b'{"vector":[{"select":"member=member=1","weight":0.5}]}',
        "vector_2": b'{"vector":[{"select":"inet=10.0.0.1:80","weight":0.5}]}',
    }
    (found,) = read(children, RULES).registrations
    assert found.weight == 7


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ("shard=0", "vector: expected a list, got "),
        ({"select": "shard=0"}, "vector: expected a list, got a mapping of 1"),
        (["shard=0"], "vector: expected mappings, got "),
        ([{}], "select: only shard=N, member=NAME and inet=HOST:PORT are understood, got null"),
        ([{"select": "zone=a"}], "select: only shard=N"),
        ([{"select": "shard=*"}], "select: only shard=N"),
        ([{"select": "shard=-1"}], "select: only shard=N"),
        ([{"select": "shard=01"}], "select: only shard=N"),
        ([{"select": "shard=0,shard=1"}], "select: only shard=N"),
        ([{"select": " shard=0"}], "select: only shard=N"),
        ([{"select": "member="}], "select: only shard=N"),
        ([{"select": "inet=10.0.0.1"}], "select: only shard=N"),
        ([{"select": "inet=10.0.0.1:080"}], "select: only shard=N"),
        ([{"select": "inet=10.0.0.1:65536"}], "select: expected a whole number from 1 to 65535"),
        ([{"select": "inet=[10.0.0.1]:80"}], "select: "),
        ([{"select": "inet=a b:80"}], "select: inet=a b:80: is neither an IP address nor"),
        ([{"select": "inet=0.0.0.0:80"}], "select: inet=0.0.0.0:80: is unspecified"),
        ([{"select": 0}], "select: only shard=N"),
        ([{"select": "shard=0"}, {"select": "shard=0"}], "select: shard=0 stands twice"),
        ([{"select": "shard=0", "weight": "1"}], "weight: expected a number from 0 to 1000000"),
        ([{"select": "shard=0", "weight": -0.1}], "weight: expected a number from 0 to 1000000"),
        ([{"select": "shard=0", "weight": 1000001}], "weight: expected a number from 0 to 1000000"),
        ([{"select": "shard=0", "weight": True}], "weight: expected a number from 0 to 1000000"),
        ([{"select": "shard=0", "weight": None}], "weight: expected a number from 0 to 1000000"),
        ([{"select": "shard=0", "weight": 10**400}], "weight: expected a number from 0 to 1000000"),
        ([{"select": "shard=0", "priority": "1"}], "priority: expected a whole number from 0"),
        ([{"select": "shard=0", "drain": True}], "drain: is not a field that a ServerSet writes"),
    ],
)
def test_a_vector_that_is_not_understood_is_refused_whole(vector, expected):
    found, (refused,) = weights([{"select": "shard=0", "weight": 0.5}], vector, a={})
    assert found == {"a": 0.5}
    assert refused.child == "vector_0000000001"
    assert refused.reason.startswith(expected)


def test_nothing_of_a_refused_vector_counts():
    found, refusals = weights([{"select": "shard=0", "weight": 0.5}, {"select": "zone=a"}], a={})
    assert found == {"a": None}
    assert len(refusals) == 1


def test_infinite_weights_are_refused():
    children = {"vector_1": b'{"vector":[{"select":"shard=0","weight":1e999}]}'}
    assert refusal(read(children, RULES)).startswith("weight: expected a number from 0 to 1000000")


def test_no_weight_is_below_nothing():
    found, _ = weights([{"select": "shard=0", "weight": -0.0}], a={})
    assert str(found["a"]) == "0.0"


def test_vectors_are_no_instances():
    assert read({"vector_0000000001": b'{"vector":[]}'}, RULES) == Reading()
    assert refusal(read({"vector_1": b'{"vector":[],"host":"10.0.0.1","port":1}'}, RULES)) == (
        "vector: is not a field that nerve writes"
    )
    assert refusal(read({"vector_1": b""}, RULES)).startswith("vector_1: is not an IP address")
