"""A hundred thousand damaged znodes: each has an answer, and none harms its neighbour.

Each run has a seed of its own; a failure names it. `SELVAGE_FUZZ_SEED` repeats a run,
`SELVAGE_FUZZ_INPUTS` lengthens it.
"""

import copy
import json
import os
import random

from reading import read
from selvage.formats.registrations import Rules
from soundness import assert_sound
from strategies import ADDRESSES, encoded

INPUTS = int(os.environ.get("SELVAGE_FUZZ_INPUTS", "100000"))

NERVE = {
    "host": "10.0.0.1", "port": 3000, "name": "i-1", "weight": 10,
    "haproxy_server_options": "backup weight 10 maxconn 5", "labels": {"az": "a"},
}  # fmt: skip
SPRING = {
    "name": "s", "id": "i", "address": "app1", "port": 80, "sslPort": None,
    "payload": {"@class": "Z", "metadata": {"instance_status": "UP", "zone": "a"}},
    "registrationTimeUTC": 1621155920122, "serviceType": "DYNAMIC",
    "uriSpec": {"parts": [{"value": "scheme", "variable": True}]}, "enabled": True,
}  # fmt: skip
MEMBER = {
    "status": "ALIVE",
    "serviceEndpoint": {"host": "db-2.example.org", "port": 1, "inet": "10.0.0.7"},
    "additionalEndpoints": {"http": {"host": "2.example.org", "port": 2}}, "shard": 0,
    "member_id": 7, "metadata": {"zone": "a"},
}  # fmt: skip
VECTOR = {
    "vector": [
        {"select": "shard=0", "weight": 0.5, "priority": 1},
        {"select": "member=member_0000000007", "weight": 2},
        {"select": "inet=db-2.example.org:1", "weight": 1.5},
    ]
}
DOCUMENTS = {
    "i-1_0000000001": NERVE,
    "6d4e5121-6c17-4023-8f7b-8922f8b70cae": SPRING,
    "member_0000000007": MEMBER,
    "vector_0000000001": VECTOR,
}
VALID = [
    *((child, json.dumps(document).encode()) for child, document in DOCUMENTS.items()),
    (encoded(NERVE), b""),
    ("10.0.0.50", b""),
    ("10.0.0.50:80", b""),
    ("[2001:db8::1]:80", b""),
]
VALUES = [
    None, True, False, 0, -1, 1, 0.5, 257, 65_536, 1_000_001, 10**30, 1e300, -0.0, "", "0", "UP",
    "ALIVE", "DEAD", "OUT_OF_SERVICE", "app1", "nowhere", "app1.", "-a", "a..b", "a" * 64,
    "a" * 300,
    "0.0.0.0", "127.0.0.1", "::1", "fe80::1%eth0", "10.1", "0x7f000001", "shard=0", "shard=9",
    "inet=app1:80", "member=member_0000000007", "backup", "weight 5", "maxconn 0", "backup check",
    "a\n    server evil 10.6.6.6:80", "x; disable server a/b", "\x00", "\ud800", "é", "$HOME", "%",
    [], {}, [[]], {"a": "b"}, {"host": "app1", "port": 80}, [{"select": "shard=0"}],
    {str(n): "a" for n in range(65)}, {"metadata": {"instance_status": 5}},
]  # fmt: skip
TOKENS = [
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"65536", b"99999999999999999999", b'""',
    b"[]", b"{}", b'"\\ud800"', b"\\u0000", b"\xff", b"\xc3\xa9", b"\x00", b"\n", b";", b"%", b" ",
    b"'", b'"', b"\\", b"#", b"$HOME", b"\r\n  server evil 10.6.6.6:80", b"; disable server a/b",
    b"0.0.0.0", b"::1", b"[::]", b"fe80::1%eth0", b"localhost", b"255.255.255.255", b"10.1",
    b'"host":', b'"address":', b'"serviceEndpoint":', b'"vector":', b'"weight":256,', b'"port":0,',
    b"OUT_OF_SERVICE", b"DEAD", b"base64_", b"_0000000001", b"[" * 3_000, b"a" * 5_000,
]  # fmt: skip
FIELDS = sorted({field for document in (NERVE, SPRING, MEMBER, VECTOR) for field in document})
# Of no one else, so that only itself can be the reason if it is missing.
NEIGHBOUR = {"neighbour": b'{"host":"192.0.2.1","port":65000,"weight":3}'}


def damaged(chance, text):
    """The bytes after one to four accidents."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        begin = chance.randint(0, len(text))
        end = min(len(text), begin + chance.choice((0, 1, 1, 2, 8, 64)))
        other = chance.choice(VALID)[1]
        middle = chance.choice(
            (
                b"",
                chance.choice(TOKENS),
                chance.choice(TOKENS),
                bytes([chance.randrange(256)]),
                text[begin:end] * 2,
                other[chance.randint(0, len(other)) :],
            )
        )
        text = text[:begin] + middle + text[end:]
    return text


def places(value):
    """Every mapping or list in a document, with each of its keys or positions."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def odd(chance, document):
    """The document with one to three values that are replaced, added or missing."""
    document = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 2, 3))):
        where, key = chance.choice(list(places(document)))
        value = copy.deepcopy(chance.choice(VALUES))
        way = chance.randrange(8)
        if way == 0 and len(document) > 1:
            del where[key]
        elif way == 1 and isinstance(where, dict):
            where[chance.choice(FIELDS)] = value
        else:
            where[key] = value
    return document


def znode(chance):
    """A valid znode of which a value, some bytes or the name were damaged."""
    if chance.random() < 0.6:
        child, document = chance.choice(list(DOCUMENTS.items()))
        document = odd(chance, document)
        if chance.random() < 0.1:
            return encoded(document), b""
        return child, json.dumps(document).encode()
    child, data = chance.choice(VALID)
    if not data or chance.random() < 0.1:
        child = damaged(chance, child.encode()).decode("utf-8", "surrogateescape")
    if data or chance.random() < 0.1:
        data = damaged(chance, data)
    return child, data


def test_damaged_znodes():
    seed = int(os.environ.get("SELVAGE_FUZZ_SEED") or random.SystemRandom().getrandbits(32))
    chance = random.Random(seed)
    inputs = 0
    while inputs < INPUTS:
        children = dict(znode(chance) for _ in range(8))
        inputs += len(children)
        children |= NEIGHBOUR
        rules = Rules(chance.choice((None, 80)), chance.choice((None, "http")))
        try:
            reading = read(children, rules, ADDRESSES)
            assert_sound(reading, children, ADDRESSES, rules)
            (neighbour,) = (r for r in reading.registrations if r.child == "neighbour")
            assert (neighbour.address, neighbour.port, neighbour.weight) == ("192.0.2.1", 65_000, 3)
        except Exception as error:
            error.add_note(f"SELVAGE_FUZZ_SEED={seed}: read({children!r}, {rules})")
            raise
