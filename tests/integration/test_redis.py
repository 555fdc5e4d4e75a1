"""Redis and Sentinel as they are: what we read from them, and what we tell them."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from redis_members import PASSWORDS, Authority, role_users, started

from programs import wait_for
from selvage.redis import facts, forget, members, settings, switchover, tell, topology, users
from selvage.redis.client import Client, FailedError, RefusedError

SECRETS = {
    "masteruser": "replication",
    "masterauth": PASSWORDS["redis_replication_passwords"],
}


@pytest.fixture(scope="module")
def running():
    with started() as made:
        yield made


@pytest.fixture
def cluster(running):
    """All is well when a test begins."""
    running.settle()
    return running


def test_a_failover_is_seen_and_ids_are_kept(cluster):
    before = cluster.look()
    former = cluster.settle()
    ids = {one.member.name: one.watch.id for one in before}
    cluster.servers[cluster.name(former)].stop(signal.SIGKILL)

    def promoted():
        at = topology.primary(cluster.look(), ())
        return at.address != former.address and at.by == "sentinels"

    wait_for(promoted)
    cluster.servers[cluster.name(former)].start()
    now = cluster.settle()
    assert now.address != former.address
    assert {one.member.name: one.watch.id for one in cluster.look()} == ids


class Writer(threading.Thread):
    """An application that writes one number after the other, wherever the primary is by then."""

    def __init__(self, cluster):
        super().__init__()
        self.cluster = cluster
        self.access = replace(cluster.access, user="writer", passwords=("writer-of-these-tests",))
        self.taken = []
        self.done = threading.Event()

    def run(self):
        number = 0
        while not self.done.is_set():
            for program in self.cluster.servers.values():
                with suppress(FailedError), Client(program.address, program.port, self.access) as c:
                    while not self.done.is_set():
                        number += 1
                        c.ask("SET", f"key{number}", "value")
                        self.taken.append(number)


def test_a_switchover_loses_no_write_that_was_acknowledged(cluster):
    former = cluster.settle()
    for name in cluster.servers:
        with cluster.client(name) as admin:
            admin.ask("ACL", "SETUSER", "writer", "on", ">writer-of-these-tests", "~*", "+@all")
    writer = Writer(cluster)
    writer.start()
    try:
        wait_for(lambda: len(writer.taken) > 100)
        told = switchover.switch(cluster.look, cluster.ports, cluster.access, 60.0)
        assert told[0].address == former.address != told[1].address
        before = len(writer.taken)
        wait_for(lambda: len(writer.taken) > before + 100)
    finally:
        writer.done.set()
        writer.join()
    now = cluster.settle()
    with cluster.client(cluster.name(now), access=writer.access) as client:
        there = {int(key.removeprefix("key")) for key in client.items("KEYS", "key*")}
    assert {*writer.taken} <= there


def test_settings_are_told_once_and_shown_without_secrets(cluster):
    name = cluster.name(cluster.settle())
    wanted = cluster.servers[name].settings | {"maxmemory": "100mb", "appendfsync": "always"}
    wanted = {key: value for key, value in wanted.items() if key not in SECRETS}
    secrets = SECRETS | {"masterauth": "another-one-of-these-tests"}
    with cluster.client(name) as client:
        dry = tell.server_settings(client, wanted, secrets, dry_run=True)
        told = tell.server_settings(client, wanted, secrets, dry_run=False)
        assert dry.lines == told.lines
        assert set(told.lines) == {"maxmemory", "appendfsync", "masterauth"}
        assert "another" not in repr(told)
        assert not tell.server_settings(client, wanted, secrets, dry_run=False).lines
        tell.server_settings(client, wanted, SECRETS, dry_run=False)


def test_what_needs_a_restart_is_what_the_server_says(cluster):
    """Neither more nor less than CONFIG SET refuses."""
    refused = set()
    with cluster.client("redis1") as client:
        # Listening anew on the same place is more than nothing, and this user is not to lose it.
        for name, value in facts.pairs(client.ask("CONFIG", "GET", "*")).items():
            if name in ("bind", "tls-port", "replicaof", "slaveof"):
                continue
            try:
                client.ask("CONFIG", "SET", name, value)
            except RefusedError as error:
                assert "can't set" in str(error), (name, error)
                refused.add(name)
        known = {*facts.pairs(client.ask("CONFIG", "GET", "*"))}
    assert refused == settings.FIXED & known


def test_a_renewed_certificate_is_loaded_without_a_restart(cluster):
    server = cluster.servers["redis2"]
    wanted = {key: value for key, value in server.settings.items() if key not in SECRETS}
    with cluster.client("redis2") as client:
        assert "certificate" not in tell.server_settings(client, wanted, {}, dry_run=True).lines
    cluster.authority.certify(server.address)
    with cluster.client("redis2") as client:
        assert "certificate" in tell.server_settings(client, wanted, {}, dry_run=False).lines
    with cluster.client("redis2") as client:
        assert not tell.server_settings(client, wanted, {}, dry_run=False).lines
    sentinel = cluster.sentinels["redis2"]
    with cluster.client("redis2", sentinel=True) as client:
        told = tell.sentinel_settings(
            client,
            {},
            {},
            sentinel.state,
            server.folder / server.settings["tls-cert-file"],
            dry_run=False,
        )
    assert told.restart == ["certificate"]
    sentinel.stop()
    sentinel.start()


def test_sentinel_is_told_what_differs(cluster):
    sentinel = cluster.sentinels["redis3"]
    wanted = {"down-after-milliseconds": "4000", "quorum": "3", "announce-ip": sentinel.address}
    secrets = {"auth-user": "sentinel", "auth-pass": PASSWORDS["redis_sentinel_passwords"]}
    place = (sentinel.state, sentinel.folder / sentinel.settings["tls-cert-file"])
    with cluster.client("redis3", sentinel=True) as client:
        told = tell.sentinel_settings(client, wanted, secrets, *place, dry_run=False)
        assert set(told.lines) == {"down-after-milliseconds", "quorum"}
        assert not tell.sentinel_settings(client, wanted, secrets, *place, dry_run=False).lines
        wanted |= {"quorum": "2"}
        assert tell.sentinel_settings(client, wanted, secrets, *place, dry_run=False).lines == {
            "quorum": ("3", "2")
        }


def test_a_member_more_and_one_less_keep_the_others_ids(cluster):
    at = cluster.settle()
    ids = {one.member.name: one.watch.id for one in cluster.look()}
    fourth = cluster.add()
    cluster.join(fourth, at.address)
    assert cluster.settle() == at
    cluster.members.remove(fourth)
    wrong = cluster.look()
    assert topology.strangers(wrong) == [fourth.address]
    arguments = (cluster.look, cluster.ports, cluster.access, 120.0)
    assert forget.forget(*arguments, dry_run=True) == [fourth.address]
    assert topology.strangers(cluster.look()) == [fourth.address]
    assert forget.forget(*arguments, dry_run=False) == [fourth.address]
    # It runs, and nobody finds it: it takes no writes, and tells nobody of itself.
    with cluster.client(fourth.name) as client:
        assert not facts.server(client.text("INFO")).in_sync
    with cluster.client(fourth.name, sentinel=True) as client, pytest.raises(RefusedError):
        client.ask("SENTINEL", "MASTER", members.WATCHED)
    assert cluster.settle() == at
    assert forget.forget(*arguments, dry_run=False) == []
    assert {one.member.name: one.watch.id for one in cluster.look()} == ids


def test_health_checks_ask_the_role_without_a_password_and_nothing_else(cluster):
    access = replace(cluster.access, user="check", passwords=("whatever",))
    with cluster.client("redis1", access=access) as client:
        assert client.ask("PING") == "PONG"
        assert client.items("ROLE")[0] in ("master", "slave")
        assert "role:" in client.text("INFO", "replication")
        for words in (("GET", "key"), ("CONFIG", "GET", "*"), ("CLIENT", "LIST"), ("ACL", "LIST")):
            with pytest.raises(RefusedError, match="no permissions"):
                client.ask(*words)
    accounts = role_users("__redis_server_users")
    with cluster.client("redis1") as client:
        # Whatever users other tests have left.
        tell.accounts(client, accounts, exact=True, dry_run=False)
        assert not tell.accounts(client, accounts, exact=True, dry_run=False).lines
        client.ask("ACL", "SETUSER", "check", "resetpass", ">a-password-that-nobody-knows")
        told = tell.accounts(client, accounts, exact=False, dry_run=False)
        assert set(told.lines) == {"user check"}
        assert not tell.accounts(client, accounts, exact=True, dry_run=False).lines
    with pytest.raises(RefusedError):
        cluster.client("redis1", sentinel=True, access=access)


@pytest.mark.parametrize("sentinel", [False, True])
def test_users_rotate_with_both_passwords_meanwhile(cluster, sentinel):
    accounts = role_users("__redis_sentinel_users" if sentinel else "__redis_server_users")
    rules = ("resetchannels", "-@all", "+ping", "+info")
    former, new = users.hashed("former-of-these-tests"), users.hashed("new-of-these-tests")

    def lets_in(word):
        access = replace(cluster.access, user="checker", passwords=(f"{word}-of-these-tests",))
        try:
            with cluster.client("redis1", sentinel=sentinel, access=access) as client:
                return client.ask("PING") == "PONG"
        except RefusedError:
            return False

    def told(hashes, exact):
        wanted = [*accounts, users.User("checker", hashes, rules)]
        with cluster.client("redis1", sentinel=sentinel) as client:
            return {*tell.accounts(client, wanted, exact=exact, dry_run=False).lines}

    told((former,), True)
    assert told((former,), True) == set()
    assert told((new,), False) == {"user checker"}
    assert lets_in("former")
    assert lets_in("new")
    assert told((new,), True) == {"user checker"}
    assert not lets_in("former")
    assert lets_in("new")
    with cluster.client("redis1", sentinel=sentinel) as client:
        assert tell.accounts(client, accounts, exact=True, dry_run=False).lines == {
            "user checker": ("here", "gone")
        }
    assert not lets_in("new")


def test_rules_are_compared_as_the_server_words_them(cluster):
    """Categories come back in other words, and in another order, than they were given in."""
    accounts = role_users("__redis_server_users")
    rules = ("~orders:*", "resetchannels", "&news.*", "-@all", "+@read", "+@write", "-@dangerous")
    wanted = [*accounts, users.User("orders", (users.hashed("orders-of-these-tests"),), rules)]
    with cluster.client("redis1") as client:
        assert tell.accounts(client, wanted, exact=True, dry_run=False).lines
        assert not tell.accounts(client, wanted, exact=True, dry_run=False).lines
        client.ask("ACL", "SETUSER", "orders", "+flushall")
        assert set(tell.accounts(client, wanted, exact=True, dry_run=True).lines) == {"user orders"}
        tell.accounts(client, accounts, exact=True, dry_run=False)
        assert users.SCRATCH not in client.items("ACL", "USERS")


def test_nobody_gets_in_with_a_wrong_password_or_a_foreign_ca(cluster):
    wrong = replace(cluster.access, passwords=("wrong-of-these-tests",))
    with pytest.raises(RefusedError, match="lets selvage not in"):
        cluster.client("redis1", access=wrong)
    authority = Authority()
    with pytest.raises(FailedError, match="TLS fails"):
        cluster.client("redis1", access=replace(cluster.access, ca=authority.ca))
    authority.close()
    (seen,) = members.look(cluster.members[:1], cluster.ports, wrong)
    assert seen.server is None
    assert len(seen.refusals) == 2
    assert "wrong-of-these-tests" not in repr(seen)
