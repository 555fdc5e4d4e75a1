"""MySQL's protocol: what servers say is read, and anything else is refused, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.mysql import wire

texts = st.text(max_size=300)
values = st.none() | texts


def encoded(value):
    if value is None:
        return b"\xfb"
    data = value.encode()
    if len(data) < 251:
        return bytes([len(data)]) + data
    return b"\xfc" + len(data).to_bytes(2, "little") + data


@given(st.binary(max_size=300), st.integers(0, 255), st.binary(max_size=9))
def test_a_packet_is_read_back_and_what_follows_is_left(body, number, more):
    data = wire.packet(number, body)
    assert wire.parse(data + more) == ((number, body), len(data))
    assert wire.parse(data[:-1]) is None


@given(st.lists(st.tuples(texts, values), min_size=1, max_size=5, unique_by=lambda c: c[0]))
def test_a_row_is_read_back(cells):
    names = [name for name, _ in cells]
    body = b"".join(encoded(value) for _, value in cells)
    assert wire.row(body, names) == dict(cells)
    with pytest.raises(wire.MalformedError):
        wire.row(body + b"\1x", names)
    with pytest.raises(wire.MalformedError):
        wire.row(body, [*names, "one more"])


@given(texts)
def test_the_name_of_a_column(name):
    body = encoded("def") + encoded("") * 3 + encoded(name) + encoded(name) + b"\x0c\x3f\0"
    assert wire.column(body) == name


readers = [
    wire.parse,
    wire.version,
    wire.asks_for_another_way,
    wire.columns,
    wire.column,
    wire.is_end,
    lambda body: wire.row(body, ["a", "b", "c"]),
]


@given(st.sampled_from(readers), st.binary(max_size=80))
def test_anything_is_read_or_refused(reader, data):
    try:
        reader(data)
    except (wire.MalformedError, wire.RefusedError) as error:
        assert len(str(error)) <= 4 * len(data) + 60


@pytest.mark.parametrize(
    ("reader", "body"),
    [
        (wire.parse, b"\1\0\4\0"),
        (wire.version, b""),
        (wire.version, b"\x09old\0"),
        (wire.asks_for_another_way, b"\1"),
        (wire.columns, b"\0\0\0\2\0\0\0"),
        (wire.columns, b"\xc9"),
        (wire.columns, b"\1\1"),
        (wire.column, b"\3def\xff"),
    ],
)
def test_what_no_server_says_is_refused(reader, body):
    with pytest.raises(wire.MalformedError):
        reader(body)


def test_an_error_is_in_the_servers_words():
    with pytest.raises(wire.RefusedError, match=r"^Access denied$"):
        wire.checked(b"\xff\x15\x04#28000Access denied")
    with pytest.raises(wire.RefusedError, match=r"^Too many connections$"):
        wire.version(b"\xff\x10\x04Too many connections")


def test_a_greeting_and_an_answer_to_a_login():
    assert wire.version(b"\x0a5.5.5-10.11.18-MariaDB\0\3\0\0\0") == "5.5.5-10.11.18-MariaDB"
    assert not wire.asks_for_another_way(b"\0\0\0\2\0\0\0")
    assert wire.asks_for_another_way(b"\xfemysql_native_password\0")
