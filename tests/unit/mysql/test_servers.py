"""What servers say, as values."""

from __future__ import annotations

import pytest
from clusters import ROW, SAID
from hypothesis import given
from hypothesis import strategies as st

from selvage.mysql import flavours, gtid, servers

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


def parse(**more):
    return servers.parse("db2", "198.18.0.2", 3306, {**SAID, **more})


def test_a_replica_of_mariadb():
    server = parse()
    assert server.problem is None
    assert (server.flavour, server.version, server.server_id) == (flavours.MARIADB, (10, 11), 2)
    assert (server.read_only, server.cluster, server.databases) == (True, "one", ("shop",))
    assert server.history == gtid.mariadb("0-1-10,0-2-3")
    assert server.replication.runs
    assert server.received == gtid.mariadb("0-1-12,0-2-3")


def test_a_replica_of_mysql():
    row = {
        "Source_Host": "198.18.0.1",
        "Source_Port": 3306,
        "Replica_IO_Running": "Yes",
        "Replica_SQL_Running": "No",
        "Last_IO_Errno": 0,
        "Last_IO_Error": "",
        "Last_SQL_Errno": 1062,
        "Last_SQL_Error": "Duplicate entry\n'1'",
        "Seconds_Behind_Source": None,
        "Retrieved_Gtid_Set": f"{A}:4-9",
    }
    variables = {"version": "9.7.1", "server_id": 2, "read_only": 1, "gtid_executed": f"{A}:1-5"}
    server = parse(replication=[row], variables=variables)
    assert (server.flavour, server.version) == (flavours.MYSQL, (9, 7))
    assert (server.replication.applying, server.replication.lag_s) == (False, None)
    assert server.replication.error == "1062: Duplicate entry '1'"
    assert server.received.position() == f"{A}:1-9"


def test_a_source_that_is_away_is_no_error():
    row = {**ROW, "Slave_IO_Running": "Connecting", "Last_IO_Errno": 2003, "Last_IO_Error": "x"}
    replication = parse(replication=[row]).replication
    assert (replication.receiving, replication.connected, replication.error) == (True, False, None)


def test_a_closed_door_is_told_apart():
    row = {**ROW, "Slave_IO_Running": "Connecting", "Last_IO_Errno": 1045, "Last_IO_Error": "x"}
    replication = parse(replication=[row]).replication
    assert (replication.error, replication.no_entry) == (None, "1045: x")


@pytest.mark.parametrize("number", [1236, 1593])
def test_what_does_not_mend_itself_is_an_error(number):
    row = {**ROW, "Slave_IO_Running": "No", "Last_IO_Errno": number, "Last_IO_Error": "why"}
    assert parse(replication=[row]).replication.error == f"{number}: why"


def test_a_stopped_replica_has_no_lag():
    row = {**ROW, "Slave_SQL_Running": "No", "Seconds_Behind_Master": None}
    assert parse(replication=[row]).replication.lag_s is None


def test_what_the_package_brings_is_no_data():
    variables = {**SAID["variables"], "gtid_binlog_state": "", "gtid_slave_pos": ""}
    databases = ["information_schema", "mysql", "performance_schema", "sys"]
    fresh = parse(cluster=None, replication=[], databases=databases, variables=variables)
    assert fresh.fresh
    assert not parse(cluster=None, replication=[], databases=["x"], variables=variables).fresh


def test_an_interrupted_seeding_has_no_data_whatever_else_it_says():
    assert not parse(seeding=True).holds_data


def test_a_server_with_two_sources_is_no_member():
    assert "2 sources" in parse(replication=[ROW, ROW]).problem


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
)


@given(
    st.sampled_from([*SAID, *SAID["variables"], *ROW]),
    anything,
)
def test_whatever_a_server_says_ends_in_a_server(key, value):
    said = {**SAID, "variables": dict(SAID["variables"]), "replication": [dict(ROW)]}
    for place in (said, said["variables"], said["replication"][0]):
        if key in place:
            place[key] = value
    assert servers.parse("db2", "198.18.0.2", 3306, said).name == "db2"


def test_a_directory_tells_whose_data_it_has():
    assert flavours.of_files(["ibdata1", "mysql", "aria_log_control"]) == "mariadb"
    assert flavours.of_files(["ibdata1", "mysql", "mysql.ibd"]) == "mysql"
    assert flavours.of_files(["lost+found"]) is None


def test_what_a_primary_of_mysql_is_about_to_commit_is_its_own():
    """A replica that has acknowledged it may have applied it before."""
    variables = {"version": "9.7.4", "server_id": 2, "read_only": 0, "gtid_executed": f"{A}:1-5"}
    owned = variables | {"gtid_owned": f"{A}:6#38:7#41"}
    assert parse(replication=[], variables=owned).history == gtid.mysql(f"{A}:1-7")
    assert parse(replication=[], variables=variables).history == gtid.mysql(f"{A}:1-5")
