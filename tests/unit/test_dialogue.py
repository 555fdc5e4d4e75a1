"""What HAProxy and our own checks take for the right answer, over answers of real servers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.dialogue import dialogue
from selvage.healthcheck import Check
from selvage.mysql import wire

REDIS = {
    "a primary": b"*3\r\n$6\r\nmaster\r\n:14\r\n*1\r\n*3\r\n$9\r\n127.0.0.2\r\n$4\r\n6379\r\n",
    "a replica": b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:14\r\n",
    "it connects": b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$10\r\nconnecting\r\n:-1\r\n",
    "it copies": b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$4\r\nsync\r\n:-1\r\n",
    "a Sentinel": b"*2\r\n$8\r\nsentinel\r\n*1\r\n$7\r\nselvage\r\n",
    "it loads": b"-LOADING Redis is loading the dataset in memory\r\n",
    "it refuses": b"-NOPERM this user has no permissions to run the 'role' command\r\n",
}
# MariaDB 10.11: the greeting and the answer to the login, and the result of the query.
WELCOME = bytes.fromhex(
    "640000000a352e352e352d31302e31312e31382d4d6172696144422d302b646562313275312d6c6f670003000000"
    "286a31354a7c3f4200fef7ff0200bf81150000000000001d00000034796b4a7261764c652a3c5e006d7973716c5f"
    "6e61746976655f70617373776f7264000700000200000002000000"
)


def result(value: bytes) -> bytes:
    definition = b"\3def\0\0\0\x12@@global.read_only\0\x0c\x3f\0\1\0\0\0\x08\x80\0\0\0\0"
    bodies = (b"\1", definition, b"\xfe\0\0\2\0", bytes([len(value)]) + value, b"\xfe\0\0\2\0")
    return b"".join(wire.packet(n, body) for n, body in enumerate(bodies, 1))


def right(step, answer):
    return re.search(step.expect, answer) is not None


@pytest.mark.parametrize("user", ["check", None])
@pytest.mark.parametrize("role", ["primary", "replica"])
@pytest.mark.parametrize("state", REDIS)
def test_redis(role, user, state):
    (step,) = dialogue(Check("redis", "", role=role, user=user))
    answer = (b"+OK\r\n" if user else b"") + REDIS[state] + b"+OK\r\n"
    assert right(step, answer) == (state == f"a {role}")
    # Nobody who was not let in has a role.
    if user:
        assert not right(step, b"-WRONGPASS invalid username-password pair\r\n" + REDIS[state])


@given(st.sampled_from(["primary", "replica"]), st.binary(max_size=60))
def test_nobody_else_is_a_redis_server(role, data):
    (step,) = dialogue(Check("redis", "", role=role, user="check"))
    assert not right(step, data)
    assert not right(step, data + REDIS[f"a {role}"])
    # Half of an answer is none.
    whole = b"+OK\r\n" + REDIS[f"a {role}"]
    assert not right(step, whole[: len(data) % 19])


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
@pytest.mark.parametrize("role", ["primary", "replica"])
def test_mysql(role, flavour):
    login, query = dialogue(Check("mysql", "", role=role, user="check", flavour=flavour))
    assert right(login, WELCOME)
    refused = wire.packet(2, b"\xff\x15\x04#28000Access denied for user 'check'@'127.0.0.1'")
    assert not right(login, WELCOME[:-11] + refused)
    assert any(re.search(other, WELCOME[:-11] + refused) for other in login.others)
    assert right(query, result(b"0")) == (role == "primary")
    assert right(query, result(b"1")) == (role == "replica")
    assert not right(query, result(b"10"))
    assert not right(query, b"")


def test_what_is_said_to_a_database_is_what_a_client_says():
    login, query = dialogue(Check("mysql", "", role="primary", user="check", flavour="mariadb"))
    (number, body), length = wire.parse(login.say)
    assert (number, length) == (1, len(login.say))
    assert body[32:] == b"check\0\0mysql_native_password\0"
    (number, body), length = wire.parse(query.say)
    assert (number, body) == (0, b"\x03SELECT @@global.read_only")
    assert query.say[length:] == wire.QUIT


def test_a_check_without_a_role_has_nothing_to_say():
    with pytest.raises(ValueError, match="type redis without a role"):
        dialogue(Check("redis", ""))
