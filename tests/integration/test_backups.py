"""Backups of real servers: taken while they run, and restored; what they held is compared."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ensemble import Ensemble
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl
from redis_members import PASSWORDS, started
from stored import backed_up, place

from programs import ROOT, SMALL, wait_for
from selvage.backup.settings import Redis, Source, ZooKeeper
from selvage.fields import Invalid
from selvage.redis.client import Access, Client, FailedError

OURS = [make_digest_acl("shop", "secret", all=True)]


@pytest.fixture(scope="module")
def ensemble():
    made = Ensemble()
    try:
        made.heal()
        yield made
    finally:
        made.close()


@contextmanager
def client(ensemble, timeout=10.0):
    made = KazooClient(",".join(ensemble.hosts), timeout=timeout)
    made.start(60)
    made.add_auth("digest", "shop:secret")
    try:
        yield made
    finally:
        made.stop()
        made.close()


def content(kazoo, path="/"):
    """All that is to come back: names, data and ACLs of what is no registration."""
    data, stat = kazoo.get(path)
    if stat.ephemeralOwner or path == "/zookeeper":
        return []
    rows = [(path, data.hex(), sorted(map(str, kazoo.get_acls(path)[0])))]
    for name in sorted(kazoo.get_children(path)):
        rows += content(kazoo, f"{path.rstrip('/')}/{name}")
    return rows


def checksum(kazoo):
    return hashlib.sha256(json.dumps(content(kazoo)).encode()).hexdigest()


def member_of(ensemble):
    """A follower, which is what a backup is taken from."""
    follower = ensemble.followers[0]
    data = follower.folder / "data"
    return Source((), ZooKeeper(data, data, "127.0.0.1", follower.port), None, None)


def writes(ensemble, stop):
    """Two znodes that always change together."""
    with client(ensemble) as writer:
        for number in range(1_000_000):
            if stop.is_set():
                return
            both = writer.transaction()
            both.set_data("/one", b"%d" % number)
            both.set_data("/two", b"%d" % number)
            both.commit()


def test_zookeeper_comes_back_without_the_registrations_of_that_day(ensemble, tmp_path):
    stop = threading.Event()
    with client(ensemble) as kazoo:
        for path in ("/one", "/two"):
            kazoo.create(path, b"0")
        kazoo.create("/shop", b"closed", acl=OURS)
        for number in range(300):
            kazoo.create(f"/shop/{number}", b"x" * number, acl=OURS)
        kazoo.create("/shop-1", b"an instance", ephemeral=True)
        busy = threading.Thread(target=writes, args=(ensemble, stop))
        busy.start()
        try:
            store = backed_up("zookeeper", member_of(ensemble), tmp_path / "store")
        finally:
            stop.set()
            busy.join()
        before = {row[0]: row for row in content(kazoo)}
        made = store.verify("20261122T031700Z")
        assert made.role == "replica" and int(made.position, 16) > 300
        kazoo.delete("/shop", recursive=True)
        kazoo.create("/later", b"of another day")
        seen = kazoo.last_zxid

    ensemble_restored(ensemble, store.path(made.name), seen)

    with client(ensemble) as kazoo:
        now = {row[0]: row for row in content(kazoo)}
        assert now.pop("/one")[1] == now.pop("/two")[1]
        for path in ("/one", "/two"):
            before.pop(path)
        assert now == before
        assert kazoo.exists("/shop-1") is None
        # Else clients that were there before would be refused, and newer would look older.
        assert kazoo.create("/next", b"") and kazoo.exists("/next").czxid > seen


def epoch(member):
    done = place("zookeeper-epoch", "--data", member.folder / "data")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def ensemble_restored(ensemble, archive, seen):
    """What `roles/backup/tasks/restore_zookeeper.yml` does."""
    first, second, third = ensemble.members
    prepared = place(
        *("zookeeper-prepare", "--archive", archive, "--data", first.folder / "data"),
        *("--heap", "128m"),
    )
    assert prepared.returncode == 0, prepared.stderr
    epochs = [epoch(member) for member in ensemble.members]
    assert max(epochs) == seen >> 32
    for member in ensemble.members:
        member.stop()
    for member, more in ((first, ["--fill"]), (second, ["--vote"]), (third, [])):
        data = member.folder / "data"
        words = ("--data", data, "--log", data, "--epoch", max(epochs) + 1, *more)
        done = place("zookeeper-swap", *words)
        assert done.returncode == 0, done.stderr
        (data / "myid").write_text(f"{ensemble.members.index(member) + 1}\n")
    for member in (first, second):
        member.launch(*SMALL)
    wait_for(lambda: all("Mode:" in one.command("srvr") for one in (first, second)), 120)
    third.launch(*SMALL)
    ensemble.heal()
    for member in ensemble.members:
        assert place("finish", member.folder / "data" / "version-2").returncode == 0


def test_what_zookeeper_does_not_load_changes_nothing(ensemble, tmp_path):
    store = backed_up("zookeeper", member_of(ensemble), tmp_path)
    path = store.path("20261122T031700Z")
    # Within the snapshot, and so that its checksum fails ZooKeeper, not only ours.
    damaged = bytearray(path.read_bytes())
    damaged[512 + 60] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(Invalid, match="is damaged"):
        store.verify("20261122T031700Z")
    data = ensemble.members[0].folder / "data"
    before = sorted(item.name for item in (data / "version-2").iterdir())
    done = place("zookeeper-prepare", "--archive", path, "--data", data, "--heap", "128m")
    assert done.returncode == 1 and "ZooKeeper does not load the backup" in done.stderr
    assert sorted(item.name for item in (data / "version-2").iterdir()) == before
    done = place("zookeeper-prepare", "--archive", "/etc/hosts", "--data", data, "--heap", "128m")
    assert done.returncode == 1 and "is no archive of ZooKeeper's files" in done.stderr
    with client(ensemble) as kazoo:
        assert kazoo.exists("/zookeeper")


def test_an_interrupted_restore_keeps_what_was_there_before_the_first_one(tmp_path):
    log = tmp_path / "appendonlydir"
    archive = tmp_path / "archive"
    for text in ("of the day", "half restored"):
        log.mkdir(exist_ok=True)
        (log / "what").write_text(text)
        archive.write_bytes(b"REDIS0011")
        assert place("redis", "--archive", archive, "--data", tmp_path).returncode == 0
    aside = tmp_path / "appendonlydir.before-restore"
    assert (aside / "what").read_text() == "of the day"
    assert place("finish", log).returncode == 0
    (log / "what").write_text("of the next day")
    assert place("redis", "--archive", archive, "--data", tmp_path).returncode == 0
    assert (aside / "what").read_text() == "of the next day"


@pytest.fixture(scope="module")
def cluster():
    with started() as made:
        yield made


def everything(cluster, name):
    """How many keys a server has, and a checksum over all of them."""
    member = next(one for one in cluster.members if one.name == name)
    with Client(member.address, cluster.ports.server, shop(cluster)) as link:
        keys = sorted(str(key) for key in link.items("KEYS", "*"))
        rows = [(key, link.ask("GET", key), link.ask("PTTL", key) == -1) for key in keys]
    return len(rows), hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def shop(cluster):
    """An application's user, who may do anything."""
    return Access("shop", ("shop-of-these-tests",), cluster.authority.ca, 20.0)


def test_redis_comes_back_from_a_replicas_data(cluster, tmp_path):
    at = cluster.settle()
    primary = cluster.name(at)
    replica = next(one for one in cluster.members if one.name != primary)
    for member in cluster.members:
        let_in(cluster, member.name)
    with Client(at.address, cluster.ports.server, shop(cluster)) as link:
        for number in range(500):
            link.ask("SET", f"order:{number}", "x" * number)
        link.ask("SET", "soon", "gone", "EX", "86400")
    wait_for(lambda: everything(cluster, replica.name) == everything(cluster, primary))
    before = everything(cluster, primary)

    secrets = tmp_path / "secrets.conf"
    secrets.write_text(f"masterauth {PASSWORDS['redis_replication_passwords']}\n")
    given = Redis(replica.address, cluster.ports.server, cluster.authority.ca, secrets)
    store = backed_up("redis", Source((), None, given, None), tmp_path / "store")
    made = store.verify("20261122T031700Z")
    assert made.role == "replica" and made.size > 10_000

    with Client(at.address, cluster.ports.server, shop(cluster)) as link:
        link.ask("FLUSHALL")
        link.ask("SET", "later", "of another day")

    # What `roles/backup/tasks/restore_redis.yml` does.
    archive = store.path(made.name)
    assert is_sound(archive)
    for sentinel in cluster.sentinels.values():
        sentinel.stop()
    server = cluster.servers[primary]
    server.stop()
    done = place("redis", "--archive", archive, "--data", server.folder)
    assert done.returncode == 0, done.stderr
    server.start()
    let_in(cluster, primary)
    wait_for(lambda: all(known(cluster, one.name) == before for one in cluster.members), 120)
    for sentinel in cluster.sentinels.values():
        sentinel.start()
    cluster.settle()
    assert cluster.name(cluster.settle()) == primary


def is_sound(archive):
    """What the release's own Redis says of its data."""
    if not ROOT:
        return subprocess.run(["redis-check-rdb", archive], capture_output=True).returncode == 0
    inside = Path(f"{ROOT}{archive.parent}")
    inside.mkdir(parents=True)
    enter = f'mount --bind "$1" {inside} && exec chroot {ROOT} redis-check-rdb "$2"'
    command = ["unshare", "-m", "sh", "-c", enter, "sh", archive.parent, archive]
    done = subprocess.run(command, capture_output=True)
    inside.rmdir()
    return done.returncode == 0


def let_in(cluster, name):
    """The application's user, which servers forget when they end."""
    address = cluster.servers[name].address

    def told():
        with suppress(FailedError), Client(address, cluster.ports.server, cluster.access) as link:
            link.ask("ACL", "SETUSER", "shop", "on", ">shop-of-these-tests", "~*", "+@all")
            return True
        return False

    wait_for(told, 120)


def known(cluster, name):
    try:
        return everything(cluster, name)
    except FailedError:  # it loads
        return None
