import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reading import hosts, read
from selvage.formats.grammar import parse_address, printable
from selvage.formats.registrations import Reading, Refusal, Registration, Rules
from soundness import assert_sound
from strategies import (
    ADDRESSES,
    anything,
    encoded,
    hostile_text,
    nerve_documents,
    valid_znodes,
    znodes,
)

NERVE = {"host": "10.0.0.1", "port": 3000}
BARE = Rules(instance_port=80, endpoint=None)


def parse(child, data, instance_port, **addresses):
    """What becomes of a znode that is alone."""
    reading = read({child: data}, Rules(instance_port, None), addresses)
    (result,) = (*reading.registrations, *reading.refusals, *reading.out_of_service)
    return result


def nerve(child="i-1_0000000001", **fields):
    return parse(child, json.dumps(NERVE | fields).encode(), None)


def reason(result):
    assert isinstance(result, Refusal), result
    assert result.reason.isprintable()
    assert len(result.reason) < 300
    return result.reason


# Bare addresses


@pytest.mark.parametrize(
    ("child", "address", "port"),
    [
        ("10.0.0.50", "10.0.0.50", 8080),
        ("10.0.0.50:80", "10.0.0.50", 80),
        ("127.0.0.1:65535", "127.0.0.1", 65_535),
        ("[2001:db8::1]:80", "2001:db8::1", 80),
        ("2001:db8::1", "2001:db8::1", 8080),
        ("[2001:db8::1]", "2001:db8::1", 8080),
        ("2001:0DB8:0:0::0001", "2001:db8::1", 8080),
        ("2001:db8::1:80", "2001:db8::1:80", 8080),
        ("::1", "::1", 8080),
        ("[::ffff:10.0.0.50]:80", "10.0.0.50", 80),
        ("::ffff:a00:32", "10.0.0.50", 8080),
    ],
)
def test_bare_addresses(child, address, port):
    assert parse(child, b"", 8080) == Registration(child, address, port)


def test_a_bare_address_without_any_port():
    assert (
        reason(parse("10.0.0.50", b"", None)) == "has no port, and the service has no instance_port"
    )


@pytest.mark.parametrize(
    "child",
    [
        "", "localhost", "db1.example.org:80", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1.",
        "10.0.0.1:", "10.0.0.1:080", "10.0.0.1:+80", "10.0.0.1:80:80", "[10.0.0.1]:80",
        "[10.0.0.1]", "[2001:db8::1]:", "[2001:db8::1]80",
        "2001:db8:::1", "167772161", "0x0a000001", "10.1",
        "10.0.0.1/32", "\u0661\u0660.0.0.1", "10.0.0.1:\u0668\u0660", "member_0000000001",
    ],
)  # fmt: skip
def test_other_bare_names_are_refused(child):
    reason(parse(child, b"", 8080))


@pytest.mark.parametrize("port", ["0", "65536", "99999", "100000"])
def test_bare_ports_have_a_range(port):
    reason(parse(f"10.0.0.1:{port}", b"", 8080))
    reason(parse(f"[2001:db8::1]:{port}", b"", 8080))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.0.0.1", "0.1.2.3", "::", "::ffff:0.0.0.0", "255.255.255.255", "224.0.0.1",
        "239.1.2.3", "240.0.0.1", "ff02::1", "::ffff:224.0.0.1", "::10.0.0.1", "fe80::1",
        "fe80::1%eth0", "2001:db8::1%1",
    ],
)  # fmt: skip
def test_addresses_that_no_instance_has(address):
    with pytest.raises(ValueError, match=r"is unspecified|has a zone|is link-local"):
        parse_address(address)
    reason(nerve(host=address))
    reason(parse(address, b"", 8080))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "169.254.1.1", "fd00::1"])
def test_addresses_that_an_instance_may_have(address):
    assert parse_address(address) == address


# nerve


def test_nerve_in_the_data():
    result = nerve(
        name="i-1", weight=10, haproxy_server_options="backup", labels={"az": "a", "role:db": ""}
    )
    assert result == Registration(
        child="i-1_0000000001",
        address="10.0.0.1",
        port=3000,
        weight=10,
        backup=True,
        labels={"az": "a", "role:db": ""},
    )


def test_nerve_with_the_required_keys_only():
    assert nerve() == Registration("i-1_0000000001", "10.0.0.1", 3000)
    assert nerve(name=None, weight=None, haproxy_server_options=None, labels=None) == nerve()


def test_nerve_in_the_name():
    child = encoded(NERVE | {"name": "i-1", "weight": 7})
    assert parse(child, b"", None) == Registration(child, "10.0.0.1", 3000, weight=7)


def test_the_bytes_that_nerve_writes():
    text = '{"host":"10.0.0.1","port":3000,"name":"i-1","weight":10,"labels":{}}'
    child = f"base64_92_{base64.urlsafe_b64encode(text.encode()).decode()}_0000000000"
    assert parse(child, b"", None) == Registration(child, "10.0.0.1", 3000, weight=10)


def test_the_data_counts_before_the_name():
    child = encoded(NERVE | {"host": "10.0.0.2"})
    result = parse(child, json.dumps(NERVE).encode(), None)
    assert isinstance(result, Registration)
    assert result.address == "10.0.0.1"


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        ("base64_4_abcd", "is not base64_<length>"),
        ("base64_x_abcd_1", "is not base64_<length>"),
        ("base64_5_abcd_0000000001", "another length"),
        ("base64_5_abcde_0000000001", "is damaged"),
        ("base64_4_a=bc_0000000001", "is damaged"),
        ("base64_4_abcd_0000000001", "is not UTF-8"),
        ("base64_4_W10=_0000000001", "is not a JSON object"),
        ("base64_4_YWJj_0000000001", "is not JSON"),
    ],
)
def test_damaged_names(child, expected):
    assert expected in reason(parse(child, b"", 8080))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", (None, False, None)),
        ("backup", (None, True, None)),
        ("weight 0", (0, False, None)),
        ("weight 1000000", (1_000_000, False, None)),
        ("maxconn 5", (None, False, 5)),
        ("maxconn 5 weight 3 backup", (3, True, 5)),
    ],
)
def test_server_options_that_are_values(options, expected):
    result = nerve(haproxy_server_options=options)
    assert isinstance(result, Registration)
    assert (result.weight, result.backup, result.max_connections) == expected


@pytest.mark.parametrize(
    "options",
    [
        " backup", "backup ", "backup  weight 1", "Backup", "backup backup", "weight 1 weight 2",
        "weight", "weight -1", "weight 1000001", "weight 1.5", "weight 01", "weight +1",
        "weight 1e1", "maxconn 0", "maxconn 1000001", "maxconn 99999999999", "check", "disabled",
        "redir http://a", "backup\n", "backup\nserver evil 10.6.6.6:80", "weight 1\tbackup",
        "backup\u00a0", "weight \u0663", "weight 1;", "backup # x", "track a/b", "send-proxy",
        "source 0.0.0.0", "%", "\ud800",
        5, True, ["backup"], {"backup": True}, 1.5,
    ],
)  # fmt: skip
def test_other_server_options_are_refused(options):
    assert reason(nerve(haproxy_server_options=options)).startswith("haproxy_server_options: ")


def test_two_weights_must_agree():
    same = nerve(weight=3, haproxy_server_options="weight 3")
    assert isinstance(same, Registration)
    assert same.weight == 3
    zero = nerve(weight=0, haproxy_server_options="weight 1")
    assert reason(zero) == "weight: differs from the weight in haproxy_server_options"


@pytest.mark.parametrize("weight", [-1, 1_000_001, 1.5, 1.0, True, "10", [], 10**400])
def test_weights_have_a_range(weight):
    assert reason(nerve(weight=weight)).startswith(
        "weight: expected a whole number from 0 to 1000000"
    )
    assert isinstance(nerve(weight=0), Registration)
    assert isinstance(nerve(weight=1_000_000), Registration)


@pytest.mark.parametrize("port", [None, 0, -1, 65_536, True, 80.0, "80", [80], 10**400])
def test_ports_have_a_range(port):
    assert reason(nerve(port=port)).startswith("port: expected a whole number from 1 to 65535, got")


def test_the_port_is_required():
    assert reason(parse("a", b'{"host":"10.0.0.1"}', 8080)).startswith("port: expected a whole")


@pytest.mark.parametrize(
    "host",
    [
        None, "", "10.0.0.1 ", "\n10.0.0.1", "10.0.0.1\n",
        "10.0.0.1;", "[2001:db8::1]", "10.0.0.1:80", 167772161, True, ["10.0.0.1"],
        "10.0.0.1\nserver evil", "\ud800",
    ],
)  # fmt: skip
def test_hosts_are_addresses_or_names(host):
    assert reason(nerve(host=host)).startswith("host: ")


# Host names


@pytest.mark.parametrize(
    "name",
    [
        "db1", "db1.example.org", "a", "7f3a9c2b1d4e", "1e5", "my_app_1", "_a._b", "xn--a.ch",
        "10.0.0.1.example.org", "a" * 63, ".".join(["a" * 63] * 3 + ["b" * 61]),
    ],
)  # fmt: skip
def test_host_names(name):
    children = {"i": json.dumps(NERVE | {"host": name.upper()}).encode()}
    assert hosts(children) == {name}
    (found,) = read(children, BARE, {name: "10.0.0.9"}).registrations
    assert found.address == "10.0.0.9"
    shown = name if len(name) <= 120 else f"{name[:117]}..."
    (refused,) = read(children, BARE).refusals
    assert refused.reason == f"the name {shown} cannot be resolved"


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a b", "a\n", "a;b", "a/b", "a%b", "é.org",
        "a" * 64, ".".join(["a" * 63] * 4), "127.1", "0177.0.0.1", "0x7f000001", "2130706433",
        "a.1", "a.0x7f", "256.0.0.1", "a:80", "[::1]", "*.org", "$HOME", "\u0661.org",
    ],
)  # fmt: skip
def test_other_host_names_are_refused(name):
    children = {"i": json.dumps(NERVE | {"host": name}).encode()}
    assert hosts(children) == set()
    (refused,) = read(children, BARE, {name: "10.0.0.9"}).refusals
    assert refused.reason.startswith("host: ")


def test_bare_names_are_never_resolved():
    children = {"db1": b"", "db1.example.org:80": b"", "localhost": b""}
    assert hosts(children) == set()
    addresses = dict.fromkeys(["db1", "db1.example.org", "localhost"], "10.0.0.1")
    reading = read(children, BARE, addresses)
    assert reading.registrations == ()
    assert {refused.reason for refused in reading.refusals} == {
        f"{child}: is not an IP address, and names are not resolved" for child in children
    }


def test_names_are_found_however_they_are_written():
    children = {
        "a": b'{"host" : "db1","port":80}',
        "b": b'{"host":"db\\u0032","port":80}',
        "c": b'{"\\u0068ost":"db3","port":80}',
        encoded(NERVE | {"host": "db4"}): b"",
        "e": b'{"host":"10.0.0.5","port":80}',
        "f": b'{"host":"2001:db8::1","port":80}',
        "g": b'{"host":"db7","port":0}',
        "h": b'{"host":"db8","port":80}'.ljust(65_537),
        "i": b'{"vector":[{"select":"inet=db9:80"}]}',
    }
    assert hosts(children) == {"db1", "db2", "db3", "db4"}
    names = {f"db{number}": f"10.0.0.{number}" for number in range(1, 5)}
    assert len(read(children, BARE, names).registrations) == 6


def test_a_znode_that_is_refused_has_no_host():
    assert hosts({"a\nb": b'{"host":"db1","port":80}', "base64_x": b"", "c": b"\\"}) == set()


INJECTIONS = [
    "a\n    server evil 10.6.6.6:80", "a\r", "a;b", "a b", " a", "a ", "\x00", "a\x7f", "\u2028",
    "a\u00a0b", "é", "#a", '"a"', "'a'", "$HOME", "a\\", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_directives_are_refused_in_every_field(text):
    reason(nerve(name=text))
    reason(nerve(host=text))
    reason(nerve(port=text))
    reason(nerve(weight=text))
    reason(nerve(haproxy_server_options=text))
    reason(nerve(labels=text))
    reason(nerve(labels={"a": text}))
    reason(nerve(labels={text: "a"}))
    reason(nerve(**{text: "a"}))
    reason(nerve(other=text))
    reason(nerve(child=text))
    reason(parse(f"10.0.0.1:80{text}", b"", 80))
    reason(parse(f"{text}10.0.0.1:80", b"", 80))
    reason(parse(encoded(NERVE | {"name": text}), b"", 80))


@pytest.mark.parametrize("name", ["", 5, True, ["a"], {}, "a" * 256])
def test_names_are_words(name):
    assert reason(nerve(name=name)).startswith("name: expected one word, got ")
    assert isinstance(nerve(name="a" * 255), Registration)


@pytest.mark.parametrize(
    "labels",
    [
        "az", ["az"], 5, {"az": 1}, {"az": None}, {"az": True}, {"az": {"a": "b"}}, {"": "a"},
        {"a" * 256: "a"}, {"a": "a" * 256}, {str(n): "a" for n in range(65)},
    ],
)  # fmt: skip
def test_labels_are_words(labels):
    assert reason(nerve(labels=labels)).startswith("labels: expected ")


def test_the_most_labels():
    labels = {str(n).rjust(255, "x"): "a" * 255 for n in range(64)}
    result = nerve(labels=labels)
    assert isinstance(result, Registration)
    assert result.labels == labels


def test_a_field_that_nerve_does_not_write():
    # go-nerve's `available: false` means no traffic; whoever ignores it sends some.
    assert reason(nerve(available=False)) == "available: is not a field that nerve writes"


# Damage


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"host":"\xed\xa0\x80"}', "is not UTF-8"),
        (b"\x80abc", "is not UTF-8"),
        (b" ", "is not JSON"),
        (b"\n", "is not JSON"),
        (b"\x00", "is not JSON"),
        (b"10.0.0.1:80", "is not JSON"),
        (b'\xef\xbb\xbf{"host":"10.0.0.1","port":1}', "is not JSON"),
        (b'{"host":"10.0.0.1","port":1}{}', "is not JSON"),
        (b'{"host":"10.0.0.1","port":1', "is not JSON"),
        (b"{'host':'10.0.0.1','port':1}", "is not JSON"),
        (b'{"host":"10.0.0.1\n","port":1}', "is not JSON"),
        (b'{"host":"10.0.0.1","port":' + b"9" * 5_000 + b"}", "is not JSON"),
        (b"null", "is not a JSON object"),
        (b"[]", "is not a JSON object"),
        (b'"10.0.0.1:80"', "is not a JSON object"),
        (b"80", "is not a JSON object"),
        (b"{}", "is of no known format"),
        (b'{"haproxy":{"server_options":"check"}}', "is of no known format"),
        (b'{"host":"10.0.0.1","port":1,"port":2}', "has a key twice"),
        (b'{"host":"10.0.0.1","port":1,"labels":{"a":"b","a":"c"}}', "has a key twice"),
        (b'{"host":"10.0.0.1","port":NaN}', "holds NaN"),
        (b'{"host":"10.0.0.1","port":-Infinity}', "holds -Infinity"),
        (b'{"host":"10.0.0.1","port":1e999}', "port: expected a whole number"),
        (b"[" * 32_000 + b"]" * 32_000, "is nested too deeply"),
        (b'{"a":' * 13_000, "is nested too deeply"),
    ],
)
def test_damaged_data(data, expected):
    assert expected in reason(parse("10.0.0.1:80", data, 8080))


def test_json_may_be_spaced():
    data = b' {"host": "10.0.0.1",\n "port": 3000}\n'
    assert parse("a", data, None) == Registration("a", "10.0.0.1", 3000)


def test_the_largest_data():
    data = json.dumps(NERVE).encode()
    assert isinstance(parse("a", data.ljust(65_536), None), Registration)
    assert reason(parse("a", data.ljust(65_537), None)) == "the data is larger than 65536 bytes"


def test_the_longest_name():
    assert isinstance(nerve(child="a" * 4_096), Registration)
    for child in ("a" * 4_097, "a" * 10_000, "\n" * 10_000):
        result = nerve(child=child)
        assert reason(result) == "the name is longer than 4096 characters"
        assert isinstance(result, Refusal)
        assert len(result.child) == 120


# What is shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("a\nb;é\x1b[0m\ud800", "a\\nb;\\xe9\\x1b[0m\\ud800"),
        ("a" * 120, "a" * 120),
        ("a" * 121, "a" * 117 + "..."),
        ("é" * 40, "\\xe9" * 29 + "\\..."),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_is_printable_and_bounded(text):
    shown = printable(text)
    assert shown.isascii()
    assert shown.isprintable() or not shown
    assert len(shown) <= 120


# A whole service


def test_one_bad_registration_harms_only_itself():
    reading = read(
        {
            "10.0.0.1:80": b"",
            "evil\nserver": b"",
            "i-2_0000000002": b'{"host":"10.0.0.2","port":80}',
            "i-3_0000000003": b'{"host":"db3","port":80}',
        },
        BARE,
    )
    assert [r.address for r in reading.registrations] == ["10.0.0.1", "10.0.0.2"]
    assert [r.child for r in reading.refusals] == ["evil\\nserver", "i-3_0000000003"]
    assert reading.failure is None


def test_of_duplicates_the_newest_counts():
    znode = json.dumps({"host": "10.0.0.1", "port": 80}).encode()
    reading = read({"web_0000000009": znode, "app_0000000010": znode, "z": znode}, BARE)
    assert reading.registrations == (Registration("app_0000000010", "10.0.0.1", 80),)
    assert reading.refusals == (
        Refusal("web_0000000009", "the same address and port as app_0000000010"),
        Refusal("z", "the same address and port as app_0000000010"),
    )


def test_the_end_of_a_lingering_session_changes_nothing():
    old = {"i-1_0000000001": b'{"host":"10.0.0.1","port":80,"weight":1}'}
    new = {"i-1_0000000002": b'{"host":"10.0.0.1","port":80,"weight":2}'}
    assert read(old | new, BARE).registrations == read(new, BARE).registrations


def test_addresses_written_in_two_ways_are_one():
    reading = read({"10.0.0.1:80": b"", "[::ffff:10.0.0.1]:80": b""}, BARE)
    assert len(reading.registrations) == 1
    assert len(reading.refusals) == 1


def test_nothing_registered():
    assert read({}, BARE) == Reading()


@given(
    st.dictionaries(znodes.map(lambda z: z[0]), znodes.map(lambda z: z[1]), max_size=5),
    st.randoms(),
)
def test_reading_does_not_depend_on_the_order(children, random):
    items = list(children.items())
    random.shuffle(items)
    assert read(dict(items), BARE) == read(children, BARE)


# Anything


@given(znodes, st.none() | st.just(80), st.none() | st.just("http"))
def test_any_znode_has_an_answer(znode, instance_port, endpoint):
    children = dict([znode])
    rules = Rules(instance_port, endpoint)
    assert_sound(read(children, rules, ADDRESSES), children, ADDRESSES, rules)


@given(st.dictionaries(znodes.map(lambda z: z[0]), znodes.map(lambda z: z[1]), max_size=5))
def test_any_service_has_an_answer(children):
    assert_sound(read(children, BARE, ADDRESSES), children, ADDRESSES, BARE)


@given(st.text(st.characters(codec=None)), st.binary())
def test_any_bytes_have_an_answer(child, data):
    assert_sound(read({child: data}, BARE), {child: data}, {}, BARE)


@given(anything)
def test_any_json_has_an_answer(document):
    children = {"a": json.dumps(document).encode()}
    assert_sound(read(children, BARE), children, {}, BARE)


@given(valid_znodes)
def test_valid_znodes_are_not_refused(znode):
    for refusal in read(dict([znode]), BARE, ADDRESSES).refusals:
        assert refusal.reason == "the name unknown.example.org cannot be resolved"


@given(nerve_documents)
def test_valid_documents_are_understood_in_both_forms(document):
    by_data = parse("a", json.dumps(document).encode(), None)
    by_name = parse(encoded(document), b"", None)
    assert isinstance(by_data, Registration)
    assert isinstance(by_name, Registration)
    assert (by_data.address, by_data.port) == (document["host"], document["port"])
    assert by_data.backup == ("backup" in document.get("haproxy_server_options", ""))
    assert by_data.labels == by_name.labels == document.get("labels", {})


@given(hostile_text)
def test_nothing_but_an_address_follows_from_a_bare_name(text):
    result = parse(f"10.0.0.1:80{text}", b"", 80)
    if isinstance(result, Registration):
        assert not text or (text.isascii() and text.isdigit())
