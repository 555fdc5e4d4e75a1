"""Checks that ask for a role, against real servers: HAProxy's, the reconciler's and registrar's.

A service of primaries and one of replicas have the same servers, added at runtime. Both come in
TLS of a CA, and pass what clients say on as it is.
"""

from __future__ import annotations

import re
import shutil
import signal
from contextlib import suppress

import pytest
from redis_members import Authority, Cluster
from roles import ROLES, TwoRoles

from programs import wait_for
from selvage import checks
from selvage.redis import resp
from selvage.registrar import replication
from selvage.registrar.settings import CheckSettings
from selvage.system.conversation import over_tcp

# As the fabric has them. Within the interval a busy machine has to connect, with TLS.
CHECKED = {"interval": "1s", "rise": 1, "fall": 1}


class Redis(TwoRoles):
    """A primary, a replica, and their services behind HAProxy."""

    def __init__(self, fabric):
        super().__init__(fabric)
        self.cluster = Cluster(2)
        self.one, self.two = self.cluster.members
        self.port = self.cluster.ports.server
        # Where HAProxy of another release has its root, too.
        self.ca = fabric.haproxy.folder / "ca.pem"
        shutil.copy(self.cluster.authority.ca, self.ca)
        for member, follows in ((self.one, ""), (self.two, self.one.address)):
            server = self.cluster.servers[member.name]
            server.state.write_text(f"replicaof {follows} {self.port}\n" if follows else "")
            server.start()
        self.services = {
            role: self.service(role, timeout="2s" if role == "primary" else "1m") for role in ROLES
        }

    def service(self, role, name=None, **check):
        return self.fabric.service(
            name or role,
            mode="tcp",
            check={"type": "redis", "role": role, "user": "check", "ca": str(self.ca)}
            | CHECKED
            | check,
        )

    def register(self, service):
        for member in self.cluster.members:
            self.fabric.register(f"{member.address}:{self.port}", service=service)

    def answers(self, role):
        """What the server says of its role whom a client of this service comes to."""
        with (
            suppress(OSError),
            over_tcp("127.0.0.1", self.services[role], 20.0, self.ca) as conversation,
        ):
            conversation.send(resp.command(["AUTH", "check", "any"]) + resp.command(["ROLE"]))
            assert conversation.parsed(resp.parse) == "OK"
            return conversation.parsed(resp.parse)[0]
        return None

    def promote(self, member, other):
        """As an operator does; Sentinel has no part in this."""
        with self.cluster.client(member.name) as client:
            client.ask("REPLICAOF", "NO", "ONE")
        with self.cluster.client(other.name) as client:
            client.ask("REPLICAOF", member.address, str(self.port))

    def registrars(self, member, role, **settings):
        check = CheckSettings(
            "redis", "", (), 1.0, 20.0, 1, 1, role=role, user="check",
            ca=str(self.cluster.authority.ca), **settings,
        )  # fmt: skip
        return replication.redis(member.address, self.port, check)

    def probed(self, member, service):
        found = next(s for s in self.fabric.settings().services if s.name == service)
        return checks.probe(found, member.address, self.port)

    def close(self):
        self.cluster.close()


@pytest.fixture
def redis(fabric):
    servers = Redis(fabric)
    yield servers
    servers.close()


def test_traffic_follows_the_role_of_a_redis_server(fabric, redis):
    one, two = redis.one, redis.two
    foreign = Authority()
    strange = fabric.haproxy.folder / "strange.pem"
    shutil.copy(foreign.ca, strange)
    foreign.close()
    redis.service("primary", "strange", ca=str(strange))
    wait_for(lambda: redis.registrars(two, "replica").healthy)
    fabric.reconcile()  # services without a server
    for service in (*ROLES, "strange"):
        redis.register(service)
    assert fabric.reconcile().problems == ()
    redis.settles({one.address}, {two.address})
    assert redis.up("strange") == set()
    assert "certificate" in redis.probed(one, "strange").detail
    # The reconciler and the registrars say the same as HAProxy.
    for ask in (redis.probed, redis.registrars):
        found = {(m.name, role): ask(m, role) for m in (one, two) for role in ROLES}
        assert {key for key, result in found.items() if result.healthy} == {
            (one.name, "primary"),
            (two.name, "replica"),
        }
        assert found[one.name, "replica"].detail == "it is a primary"
        assert found[two.name, "primary"].detail == "it is a replica"
    wait_for(lambda: [redis.answers(role) for role in ROLES] == ["master", "slave"])

    redis.promote(two, one)
    redis.settles({two.address}, {one.address})
    wait_for(lambda: [redis.answers(role) for role in ROLES] == ["master", "slave"])
    wait_for(lambda: redis.registrars(one, "replica").healthy)

    # A primary that stands still answers nobody; a replica of it hears nothing any more.
    redis.cluster.servers[two.name].send(signal.SIGSTOP)
    redis.settles(set(), {one.address})
    wait_for(
        lambda: re.fullmatch(
            r"lag [0-9]+ s, more than 1 s", redis.registrars(one, "replica", max_lag_s=1.0).detail
        )
    )
    # Their registrars deregister all that are late: by default the last one keeps the reads.
    for member in (one, two):
        fabric.deregister(f"{member.address}:{redis.port}", service="replica")
    (held,) = (s for s in fabric.reconcile().services if s.name == "replica")
    assert held.held
    assert redis.up("replica") == {one.address}
    redis.cluster.servers[two.name].send(signal.SIGCONT)
    redis.settles({two.address}, {one.address})
    redis.cluster.servers[two.name].stop(signal.SIGKILL)
    redis.settles(set(), set())
    assert redis.registrars(one, "replica").detail == "its link to the primary is down"
    assert redis.probed(one, "replica").detail == "it is not connected to its primary"
