"""A member's role and lag, over what servers say, and over whoever answers in their place."""

import contextlib
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selvage.mysql import wire
from selvage.registrar import replication
from selvage.registrar.settings import CheckSettings

SLAVE = {
    "role": "slave",
    "master_link_status": "up",
    "master_last_io_seconds_ago": "1",
    "master_sync_in_progress": "0",
}


@pytest.mark.parametrize(
    ("told", "primary", "replica"),
    [
        ({"role": "master"}, None, "it is a primary"),
        (SLAVE, "it is a replica", None),
        (SLAVE | {"master_last_io_seconds_ago": "10"}, "it is a replica", None),
        (
            SLAVE | {"master_last_io_seconds_ago": "14"},
            "it is a replica",
            "lag 14 s, more than 10 s",
        ),
        (
            SLAVE | {"master_link_status": "down", "master_last_io_seconds_ago": "-1"},
            "it is a replica",
            "its link to the primary is down",
        ),
        (
            SLAVE | {"master_link_status": "down", "master_sync_in_progress": "1"},
            "it is a replica",
            "it is copying its primary's data",
        ),
        ({"role": "slave", "master_link_status": "up"}, "it is a replica", "nobody knows its lag"),
        ({}, "it does not say its role", "it does not say its role"),
        ({"role": "sentinel"}, "it does not say its role", "it does not say its role"),
    ],
)
def test_redis(told, primary, replica):
    for role, problem in (("primary", primary), ("replica", replica)):
        result = replication.judge_redis(told, role, 10.0)
        assert result.healthy == (problem is None)
        assert problem is None or result.detail == problem


ROW = {
    "Master_Host": "198.18.0.31",
    "Master_Port": "3306",
    "Slave_IO_Running": "Yes",
    "Slave_SQL_Running": "Yes",
    "Seconds_Behind_Master": "0",
    "Gtid_IO_Pos": "0-31-5",
    "Last_IO_Errno": "0",
    "Last_IO_Error": "",
    "Last_SQL_Errno": "0",
    "Last_SQL_Error": "",
}
POSITIONS = {
    "read_only": "1",
    "server_id": "32",
    "binlog_pos": "0-31-5",
    "slave_pos": "0-31-5",
}
STOPPED = ROW | {
    "Slave_SQL_Running": "No",
    "Seconds_Behind_Master": None,
    "Last_SQL_Errno": "1062",
    "Last_SQL_Error": "Could not execute Write_rows_v1 event on table shop.users; Duplicate entry"
    " 'jane@example.org' for key 'mail'",
}
AWAY = ROW | {
    "Slave_IO_Running": "Connecting",
    "Seconds_Behind_Master": None,
    "Last_IO_Errno": "2003",
    "Last_IO_Error": "error connecting to master",
}


@pytest.mark.parametrize(
    ("sources", "read_only", "primary", "replica"),
    [
        ([], False, None, "it is a primary"),
        ([], True, "it is read-only", "it replicates from nobody"),
        ([ROW], True, "it is a replica", None),
        ([ROW], False, "it is a replica", "it is writable"),
        (
            [ROW, ROW | {"Seconds_Behind_Master": "14"}],
            True,
            "it is a replica",
            "lag 14 s, more than 10 s",
        ),
        (
            [STOPPED],
            True,
            "it is a replica",
            # Not whose mail it was: everyone reads it.
            "replication stopped: 1062: Could not execute Write_rows_v1 event on table shop.users;"
            " Duplicate entry",
        ),
        (
            [STOPPED | {"Last_SQL_Error": "Can't find record in 'users'" + "!" * 200}],
            True,
            "it is a replica",
            "replication stopped: 1062: Can't find record in",
        ),
        (
            [STOPPED | {"Last_SQL_Error": "!" * 200}],
            True,
            "it is a replica",
            "replication stopped: 1062: " + "!" * 134,
        ),
        (
            [AWAY],
            True,
            "it is a replica",
            "replication is not connected: 2003: error connecting to master",
        ),
        (
            [ROW | {"Slave_IO_Running": "No", "Seconds_Behind_Master": None}],
            True,
            "it is a replica",
            "replication stopped",
        ),
        ([ROW | {"Seconds_Behind_Master": None}], True, "it is a replica", "nobody knows its lag"),
    ],
)
def test_mysql(sources, read_only, primary, replica):
    for role, problem in (("primary", primary), ("replica", replica)):
        told = POSITIONS | {"read_only": "1" if read_only else "0"}
        result = replication.judge_mysql(sources, told, role, 10.0)
        assert result.healthy == (problem is None)
        assert problem is None or result.detail == problem


@pytest.mark.parametrize(
    ("binlog_pos", "slave_pos", "errant"),
    [
        ("0-32-6", "0-31-5", "0-32-6"),
        ("0-32-6,1-31-9", "0-31-5,1-31-9", "0-32-6"),
        ("0-32-1", "", "0-32-1"),
        # Of a former primary that has rejoined.
        ("0-32-5", "0-32-5", None),
        ("0-32-5", "0-31-6", None),
        # It has not noted yet what it has applied.
        ("0-31-6", "0-31-5", None),
        (None, "0-31-5", None),
    ],
)
def test_a_replica_with_transactions_of_its_own(binlog_pos, slave_pos, errant):
    told = POSITIONS | {"binlog_pos": binlog_pos, "slave_pos": slave_pos}
    result = replication.judge_mysql([ROW], told, "replica", 10.0)
    assert result.healthy == (errant is None)
    assert errant is None or result.detail == f"it has transactions of its own: {errant}"


def test_mysqls_own_words():
    row = {
        key.replace("Master", "Source").replace("Slave", "Replica"): value
        for key, value in ROW.items()
    } | {"Retrieved_Gtid_Set": ""}
    result = replication.judge_mysql([row], {"read_only": "1"}, "replica", 10.0)
    assert (result.healthy, result.detail) == (True, "a replica, lag 0 s")


GREETING = wire.packet(0, b"\x0a5.5.5-10.11.18-MariaDB\0\3\0\0\0")
OK = b"\0\0\0\2\0\0\0"


def settings_for(kind, **more):
    return CheckSettings(kind, "", (), 1.0, 20.0, 1, 1, role="replica", user="u", **more)


@contextlib.contextmanager
def saying(listener, data):
    """One connection gets all of this at once."""

    def serve():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass

    with listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from([b"\xfe", b"\xfeother\0", OK, b"\1", b"\xfe\0\0\2\0", b"\xff\1\0no"])
        | st.binary(max_size=30),
        max_size=9,
    ),
    st.binary(max_size=9),
)
def test_whoever_answers_at_the_socket(tmp_path_factory, bodies, more):
    path = tmp_path_factory.mktemp("mysql") / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    data = GREETING + b"".join(wire.packet(n, body) for n, body in enumerate(bodies, 2)) + more
    with saying(listener, data):
        result = replication.mysql(settings_for("mysql", socket=str(path)))
    assert not result.healthy
    assert result.detail.isprintable()
    assert len(result.detail) <= 200


@settings(max_examples=60)
@given(
    st.sampled_from([b"", b"+OK\r\n"]),
    st.sampled_from([b"$12\r\nrole:master\r\n\r\n", b"-NOPERM no\r\n", b"*1\r\n:1\r\n", b""])
    | st.binary(max_size=30),
)
def test_whoever_answers_in_the_place_of_redis(first, second):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with saying(listener, first + second):
        result = replication.redis("127.0.0.1", port, settings_for("redis"))
    assert not result.healthy
    assert result.detail.isprintable()
    assert len(result.detail) <= 200


def test_nobody_is_there(tmp_path):
    path = tmp_path / "socket"
    result = replication.mysql(settings_for("mysql", socket=str(path)))
    assert (result.healthy, result.detail) == (False, "No such file or directory")
