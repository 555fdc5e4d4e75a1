"""Checks that ask a server of MySQL itself for its role: HAProxy's, and those of ours."""

from __future__ import annotations

import signal

import pytest
from mysql_members import load_pymysql
from mysqld import MySQL
from test_roles_mysql import Database

from selvage.mysql import acting, flavours, session
from selvage.mysql.session import Source

# As role mysql makes them, but that the registrar's has no socket to show for its user.
ACCOUNTS = """
SET SESSION sql_log_bin = 0;
CREATE USER haproxy_check@'127.%';
CREATE USER registrar@localhost;
GRANT REPLICATION CLIENT ON *.* TO registrar@localhost;
CREATE USER replication@'127.%' IDENTIFIED BY 'secret' REQUIRE SSL;
GRANT REPLICATION SLAVE ON *.* TO replication@'127.%';
"""


class MySQLDatabase(Database):
    """The same with servers of the other flavour."""

    kind = MySQL
    flavour = flavours.MYSQL
    accounts = ACCOUNTS
    plugin = "caching_sha2_password"

    def follow(self, replica, primary, more=""):
        source = Source("", primary.address, primary.port, "secret", f"{primary.tls}/ca.pem")
        with session.local(str(replica.socket), 60) as own:
            acting.point(own, source)
            if more:
                own.rows(f"CHANGE REPLICATION SOURCE TO {more}")
            acting.start(own)


@pytest.fixture
def database(fabric, tmp_path):
    load_pymysql()
    servers = MySQLDatabase(fabric, tmp_path)
    yield servers
    servers.close()


def test_traffic_follows_the_role_of_a_database(database):
    one, two = database.one, database.two
    database.begin()

    # The roles change, the old primary first.
    one.sql("SET GLOBAL super_read_only = 1")
    two.sql("STOP REPLICA; RESET REPLICA ALL; SET GLOBAL read_only = 0")
    database.follow(one, two)
    database.traffic(two, one)

    # What HAProxy cannot see: a replica that is late, or stopped by what it cannot apply.
    database.late(one, "a replica, lag 0 s")
    one.sql("STOP REPLICA")
    database.follow(one, two, more="SOURCE_DELAY = 3600")
    two.sql("CREATE USER late")
    database.late(one, "lag [0-9]+ s, more than 1 s", max_lag_s=1.0)
    one.sql("STOP REPLICA; SET GLOBAL super_read_only = 0")
    one.sql("SET SESSION sql_log_bin = 0; CREATE USER late")
    one.sql("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0; START REPLICA")
    one.sql("SET GLOBAL super_read_only = 1")
    database.late(one, "replication stopped: 1396: .*")
    assert database.up("replica") == {one.address}

    # A primary that stands still answers nobody; one that is dead has no replicas.
    two.send(signal.SIGSTOP)
    database.settles(set(), {one.address})
    two.send(signal.SIGCONT)
    database.settles({two.address}, {one.address})
