"""Checks that ask a MariaDB server for its role: HAProxy's, the reconciler's and registrar's."""

from __future__ import annotations

import re
import signal
from contextlib import suppress

import pytest
from mariadb import MariaDB, SqlServer, certificates
from roles import ROLES, TwoRoles

from programs import wait_for
from selvage import checks
from selvage.mysql import flavours, wire
from selvage.registrar import replication
from selvage.registrar.settings import CheckSettings
from selvage.system.conversation import over_tcp

# As role mysql makes them, but that the registrar's has no socket to show for its user.
ACCOUNTS = """
SET SESSION sql_log_bin = 0;
CREATE USER haproxy_check@'127.%';
CREATE USER registrar@localhost;
GRANT BINLOG MONITOR, SLAVE MONITOR ON *.* TO registrar@localhost;
CREATE USER replication@'127.%' IDENTIFIED BY 'secret';
GRANT REPLICATION SLAVE ON *.* TO replication@'127.%';
"""
FOLLOW = """
SET GLOBAL read_only = 1;
CHANGE MASTER TO MASTER_HOST = '{primary.address}', MASTER_PORT = {primary.port},
  MASTER_USER = 'replication', MASTER_PASSWORD = 'secret', MASTER_USE_GTID = slave_pos,
  MASTER_CONNECT_RETRY = 1{more};
START SLAVE;
"""


class Database(TwoRoles):
    """Two servers, of which the first is primary, and their services behind HAProxy."""

    kind: type[SqlServer] = MariaDB
    flavour = flavours.MARIADB
    accounts = ACCOUNTS
    plugin = "mysql_native_password"

    def __init__(self, fabric, tls):
        super().__init__(fabric)
        certificates(tls, [1, 2])
        self.one, self.two = self.kind(1, tls), self.kind(2, tls)

    def start(self):
        for server in (self.one, self.two):
            server.install()
            server.start()
            server.sql(server.begin + self.accounts)
        self.one.sql("SET GLOBAL read_only = 0")
        self.follow(self.two, self.one)
        self.services = {
            role: self.fabric.service(
                role,
                mode="tcp",
                check={"type": "mysql", "role": role, "user": "haproxy_check", "interval": "1s",
                       "flavour": self.flavour.name,
                       "timeout": "2s" if role == "primary" else "1m", "rise": 1, "fall": 1},
            )
            for role in ROLES
        }  # fmt: skip
        self.fabric.reconcile()  # services without a server
        for role in ROLES:
            for server in (self.one, self.two):
                self.fabric.register(f"{server.address}:{server.port}", service=role)

    def begin(self):
        """Traffic comes to the first one's role and the second one's, and all checks agree."""
        one, two = self.one, self.two
        self.start()
        wait_for(lambda: self.registrars(two, "replica").healthy)
        assert self.fabric.reconcile().problems == ()
        self.traffic(one, two)
        for ask, details in (
            (self.probed, ("it is writable", "it is read-only")),
            (self.registrars, ("it is a primary", "it is a replica")),
        ):
            found = {(server, role): ask(server, role) for server in (one, two) for role in ROLES}
            healthy = {key for key, result in found.items() if result.healthy}
            assert healthy == {(one, "primary"), (two, "replica")}
            assert (found[one, "replica"].detail, found[two, "primary"].detail) == details
        # The socket proves who asks, to root's account.
        assert self.registrars(one, "primary", user="root").healthy

    def traffic(self, primary, replica):
        """Wait until clients of each role come to whoever has it."""
        self.settles({primary.address}, {replica.address})
        wait_for(lambda: [self.answers(role) for role in ROLES] == ["writable", "read-only"])

    def follow(self, replica, primary, more=""):
        replica.sql("STOP SLAVE;" + FOLLOW.format(primary=primary, more=more))

    def answers(self, role):
        """Whether the server is read-only whom a client of this service comes to."""
        with suppress(OSError), over_tcp("127.0.0.1", self.services[role], 20.0) as conversation:
            version = wire.version(conversation.parsed(wire.parse)[1])
            assert flavours.of(version) is self.flavour
            conversation.send(wire.login("haproxy_check", self.plugin))
            assert not wire.asks_for_another_way(conversation.parsed(wire.parse)[1])
            conversation.send(wire.query("SELECT @@global.read_only") + wire.QUIT)
            for _ in range(4):
                _, row = conversation.parsed(wire.parse)
            return {"0": "writable", "1": "read-only"}[wire.row(row, ["value"])["value"]]
        return None

    def registrars(self, server, role, user="registrar", **settings):
        check = CheckSettings(
            "mysql", "", (), 1.0, 20.0, 1, 1, role=role, user=user,
            socket=str(server.socket), **settings,
        )  # fmt: skip
        return replication.mysql(check)

    def probed(self, server, service):
        found = next(s for s in self.fabric.settings().services if s.name == service)
        return checks.probe(found, server.address, server.port)

    def late(self, server, detail, **settings):
        wait_for(
            lambda: re.fullmatch(detail, self.registrars(server, "replica", **settings).detail)
        )

    def close(self):
        for server in (self.one, self.two):
            server.close()


@pytest.fixture
def database(fabric, tmp_path):
    servers = Database(fabric, tmp_path)
    yield servers
    servers.close()


def test_traffic_follows_the_role_of_a_database(database):
    one, two = database.one, database.two
    database.begin()
    # Each check came in and went as a client does.
    (counted,) = one.sql("SHOW GLOBAL STATUS LIKE 'Aborted_c%'")[:1]
    assert counted == ["Aborted_clients", "0"]

    # The roles change, the old primary first.
    one.sql("SET GLOBAL read_only = 1")
    two.sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")
    database.follow(one, two)
    database.traffic(two, one)

    # What HAProxy cannot see: a replica with transactions of its own, and then one more of its
    # source's, by its strict GTIDs.
    database.late(one, "a replica, lag 0 s")
    one.sql("CREATE USER errant")
    database.late(one, "it has transactions of its own: 0-1-[0-9]+")
    two.sql("CREATE USER following")
    database.late(
        one, "replication stopped: 1950: An attempt was made to binlog GTID 0-2-[0-9]+ .*"
    )
    one.sql("STOP SLAVE; RESET MASTER; START SLAVE")

    # One that is late, stopped, or not connected.
    database.late(one, "a replica, lag 0 s")
    database.follow(one, two, more=", MASTER_DELAY = 3600")
    two.sql("CREATE USER late")
    database.late(one, "lag [0-9]+ s, more than 1 s", max_lag_s=1.0)
    one.sql("SET SESSION sql_log_bin = 0; CREATE USER late")
    database.follow(one, two, more=", MASTER_DELAY = 0")
    database.late(one, "replication stopped: 1396: Error")
    assert database.up("replica") == {one.address}

    # A primary that stands still answers nobody; one that is dead has no replicas.
    two.send(signal.SIGSTOP)
    database.settles(set(), {one.address})
    two.send(signal.SIGCONT)
    database.settles({two.address}, {one.address})
