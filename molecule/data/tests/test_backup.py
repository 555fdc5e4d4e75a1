"""Backups of the data tiers, and back again; app1 keeps them."""

import json
from types import SimpleNamespace

import pytest

from conftest import MYSQL, given, mysql, playbook, redis
from labs import shell, wait_for

CONFIRMED = ("-e", "restore_confirm=fabric")
# All that a restore is to bring back: names, data and ACLs, and not the registrations.
TREE = """
import hashlib, json
from kazoo.client import KazooClient
kazoo = KazooClient("127.0.0.1:2181")
kazoo.start(60)
{before}
def rows(path):
    data, stat = kazoo.get(path)
    if stat.ephemeralOwner:
        return []
    own = [path, data.hex(), sorted(map(str, kazoo.get_acls(path)[0]))]
    names = sorted(kazoo.get_children(path))
    return [own] + [row for name in names for row in rows(path.rstrip("/") + "/" + name)]
print(hashlib.sha256(json.dumps(rows("/shop")).encode()).hexdigest())
kazoo.stop()
"""
FILL = """
from kazoo.security import make_digest_acl
own = [make_digest_acl("shop", "secret", read=True, all=True)]
kazoo.add_auth("digest", "shop:secret")
kazoo.ensure_path("/shop")
for number in range(100):
    if not kazoo.exists(f"/shop/{number}"):
        kazoo.create(f"/shop/{number}", b"x" * number, acl=own)
"""
READ = 'kazoo.add_auth("digest", "shop:secret")'
KEYS = [f"orders:kept:{number}" for number in range(100)]


def tree(before: str = READ) -> str:
    return given("redis1", "python3 -", TREE.format(before=before)).strip()


def newest(service: str) -> str:
    state = json.loads(shell("app1", "cat /var/lib/selvage-backup/state.json"))
    folder = f"/var/backups/selvage/fabric/{service}"
    return f"{folder}/{state[service]['name']}/data"


@pytest.fixture(scope="module")
def backup() -> SimpleNamespace:
    """What was there when a backup was taken."""
    words = " ".join(f"{key} {number}" for number, key in enumerate(KEYS))
    assert redis(f"MSET {words}", 6379) == "OK"
    wait_for(lambda: redis(f"GET {KEYS[-1]}", 6380) == "99", "the keys at a replica")
    checksum = tree(FILL)
    taken = playbook("backup.yml")
    assert taken.rc == 0, taken.output
    return SimpleNamespace(tree=checksum)


def test_a_backup_can_be_seen_and_is_for_root_alone(backup):
    assert "redis fresh" in shell("app1", "selvage-backup status")
    assert "zookeeper fresh" in shell("app1", "selvage-backup status")
    metrics = shell("app1", "cat /var/lib/selvage-backup/metrics.prom")
    assert 'selvage_backup_failures{service="redis"} 0' in metrics
    assert shell("app1", "stat -c %a:%U /var/backups/selvage").strip() == "700:root"


def test_the_backup_hosts_key_opens_backups_and_nothing_else(backup):
    login = (
        "ssh -F none -o BatchMode=yes -i /var/lib/selvage-backup/.ssh/id_ed25519"
        " -o UserKnownHostsFile=/var/lib/selvage-backup/known_hosts"
        " selvage-backup@redis1 {} 2>&1 </dev/null || true"
    )
    address = shell("app1", "getent ahostsv4 redis1").split()[0]
    for words in ("id", "receive zookeeper", "send mysql", "send mysql-logs 0-1-1;id"):
        said = shell("app1", login.replace("redis1", address).format(f"'{words}'"))
        assert "uid=" not in said
        assert "expected look, send or receive" in said or "No such file" in said


def test_what_is_not_confirmed_or_damaged_changes_nothing(backup):
    refused = playbook("restore.yml")
    assert refused.rc != 0 and refused.changed == []
    assert "add -e restore_confirm=fabric" in " ".join(refused.output.split())
    path = newest("redis")
    shell("app1", f"cp {path} {path}.good && printf X | dd of={path} seek=60 bs=1 conv=notrunc")
    try:
        refused = playbook("restore.yml", *CONFIRMED)
    finally:
        shell("app1", f"mv {path}.good {path}")
    assert refused.rc != 0 and refused.changed == []
    assert "is damaged, its SHA-256 differs" in " ".join(refused.output.split())
    assert tree() == backup.tree


def test_what_is_gone_comes_back(backup):
    assert redis(f"DEL {' '.join(KEYS)}", 6379) == "100"
    gone = tree(f'{READ}\nkazoo.delete("/shop", recursive=True)\nkazoo.ensure_path("/shop")')
    assert gone != backup.tree
    restored = playbook("restore.yml", *CONFIRMED, "-e", "restore_only=zookeeper,redis")
    assert restored.rc == 0, restored.output
    assert tree() == backup.tree
    for port in (6379, 6380):
        found = [str(number) for number in range(100)]
        wait_for(lambda port=port: redis(f"GET {KEYS[-1]}", port) == "99", "an answer")
        rows = [redis(f"GET {key}", port) for key in KEYS[::33]]
        assert rows == found[::33]


def checksums(port: int) -> str:
    return mysql("CHECKSUM TABLE kept, lost", port)


def a_second_later() -> str:
    """The time in UTC, of which no transaction is yet."""
    now = mysql("SELECT UTC_TIMESTAMP()", 3307)
    wait_for(lambda: mysql("SELECT UTC_TIMESTAMP()", 3307) > now, "the next second")
    return mysql("SELECT UTC_TIMESTAMP()", 3307).strip()


def test_mysql_comes_back_as_of_a_moment_though_all_of_its_disks_are_gone():
    fill = "INSERT INTO {} SELECT seq, REPEAT('x', seq) FROM seq_{}_to_{}"
    for table in ("kept", "lost"):
        mysql(f"CREATE OR REPLACE TABLE {table} (number INT PRIMARY KEY, what TEXT)", 3307)
        mysql(fill.format(table, 1, 500), 3307)
    assert "mysql 2" in shell("app1", "selvage-backup run mysql mysql-logs")
    for table in ("kept", "lost"):
        mysql(fill.format(table, 501, 900), 3307)
    before = checksums(3307)
    moment = a_second_later()
    mysql("DROP TABLE lost", 3307)
    mysql("DELETE FROM kept WHERE number > 800", 3307)
    asked = ("-e", "restore_only=mysql", "-e", f"restore_until='{moment}'")

    later = ("-e", "restore_only=mysql", "-e", "restore_until='2099-01-01 00:00:00'")
    refused = playbook("restore.yml", *CONFIRMED, *later)
    # It has taken logs, as each quarter of an hour does.
    assert refused.rc != 0 and set(refused.changed) <= {"app1"}
    assert "do not reach so far" in " ".join(refused.output.split())

    assert "mysql-logs 2" in shell("app1", "selvage-backup run mysql-logs")
    for name in MYSQL:
        shell(name, "systemctl stop mariadb && find /var/lib/mysql -mindepth 1 -delete")
    restored = playbook("restore.yml", *CONFIRMED, *asked)
    assert restored.rc == 0, restored.output
    wait_for(lambda: mysql("SELECT COUNT(*) FROM kept", 3307) == "900\n", "the primary's traffic")
    assert checksums(3307) == before
    for name in MYSQL:
        wait_for(
            lambda name=name: (
                shell(name, "mariadb -BNe 'CHECKSUM TABLE shop.kept, shop.lost'") == before
            ),
            f"the rows on {name}",
        )
    # Of what the restore has ended with; other services may have none yet.
    status = shell("app1", "selvage-backup status || true")
    assert "mysql fresh" in status and "mysql-logs fresh" in status
    mysql("DROP TABLE kept, lost", 3307)
    again = playbook("site.yml")
    assert again.rc == 0 and again.changed == [], again.output
