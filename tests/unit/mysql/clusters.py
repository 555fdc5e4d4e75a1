"""Servers as values, and what they say as `mysql_look` brings it."""

from __future__ import annotations

from selvage.mysql import gtid, servers

NAMES = ("db1", "db2", "db3")


def history(**last):
    """`history(s1=5)`: of server 1 up to the fifth."""
    return gtid.MariaHistory({(0, int(key[1:])): number for key, number in last.items()})


def replica(source, received=None, **more):
    values = {"receiving": True, "connected": True, "applying": True, "lag_s": 0}
    values |= {"error": None, "no_entry": None}
    return servers.Replication(
        **{
            "source": address(source),
            "port": 3306,
            "received": received or gtid.NOTHING,
            **values,
            **more,
        }
    )


def address(name):
    return f"198.18.0.{name[2:]}"


def server(name, **more):
    values = {"version": (10, 11), "cluster": "one", "server_id": int(name[2:])}
    values["history"] = history(s1=9)
    return servers.Server(name, address(name), 3306, **{**values, **more})


def fresh(name):
    return server(name, cluster=None, history=gtid.NOTHING)


def silent(name):
    return servers.Server(name, address(name), 3306, problem="connection refused")


# As 10.11 says it, without what nobody reads.
ROW = {
    "Connection_name": "",
    "Master_Host": "198.18.0.1",
    "Master_Port": 3306,
    "Slave_IO_Running": "Yes",
    "Slave_SQL_Running": "Yes",
    "Last_IO_Errno": 0,
    "Last_IO_Error": "",
    "Last_SQL_Errno": 0,
    "Last_SQL_Error": "",
    "Seconds_Behind_Master": 0,
    "Gtid_IO_Pos": "0-1-12",
}
SAID = {
    "problem": None,
    "seeding": False,
    "data": True,
    "cluster": "one",
    "databases": ["information_schema", "mysql", "selvage", "shop"],
    "replication": [ROW],
    "variables": {
        "version": "10.11.19-MariaDB-0+deb12u1-log",
        "server_id": 2,
        "read_only": 1,
        "gtid_binlog_state": "0-1-9,0-2-3",
        "gtid_slave_pos": "0-1-10",
    },
}
