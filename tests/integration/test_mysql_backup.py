"""Backups of MariaDB servers that replicate, restored as they were, and as of one moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mariadb import MariaDB
from mysql_members import Cluster
from stored import backed_up, place

from selvage.backup import logs
from selvage.backup.settings import MySQL, Source
from selvage.backup.store import Store
from selvage.fields import Invalid

PROGRAMS = Path(__file__).parents[2] / "roles" / "mysql" / "files"
ACCOUNT = """
CREATE USER backup@localhost IDENTIFIED BY 'secret';
GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SLAVE MONITOR ON *.* TO backup@localhost;
GRANT SELECT ON selvage.* TO backup@localhost;
"""


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path, MariaDB)
    made.members["db1"].sql(ACCOUNT)
    made.settle()
    try:
        yield made
    finally:
        made.close()


class Host:
    """A backup host's folder, on a day of its own."""

    def __init__(self, cluster: Cluster, folder: Path, *, logical: bool = False) -> None:
        self.cluster, self.folder, self.logical = cluster, folder, logical
        self.now = datetime.now(UTC).replace(microsecond=0)
        folder.mkdir()

    def take(self, service: str, member: str) -> Store:
        """As a run does, a minute after the last one."""
        server = self.cluster.members[member]
        options = server.folder / "backup.cnf"
        sections = ("mariadb-backup", "mariadb-dump")
        options.write_text("".join(f"[{s}]\nuser = backup\npassword = secret\n" for s in sections))
        given = Source((), None, None, MySQL(server.socket, options, PROGRAMS, self.logical))
        self.now += timedelta(minutes=1)
        since = ""
        if service == "mysql-logs":
            own = Store(self.folder / service)
            found = own.manifests() if own.folder.exists() else []
            data = Store(self.folder / "mysql").manifests()
            since = logs.since(data, found, data[-1].cluster)
        name = f"{self.now:%Y%m%dT%H%M%SZ}"
        ended = self.now.isoformat()
        return backed_up(service, given, self.folder / service, name, since, ended)

    def chain(self, moment: str | None, gtid: str | None = None):
        """What `selvage-backup verify mysql --until` finds."""
        goal = logs.until(moment, gtid)
        data, stream = Store(self.folder / "mysql"), Store(self.folder / "mysql-logs")
        backup = logs.newest(data.manifests(), goal)
        return backup, logs.chain(backup, stream.manifests(), goal)


def checksum(server) -> list[list[str]]:
    return server.sql("CHECKSUM TABLE shop.writes, shop.orders")


def prepare(host, server, backup, needed=(), archive=None, **options):
    """As the role does on the member that is to have the data."""
    stream = Store(host.folder / "mysql-logs")
    words = ["--data", server.data, "--programs", PROGRAMS]
    words += ["--archive", archive or Store(host.folder / "mysql").path(backup.name)]
    for log in needed:
        words += ["--log", f"{stream.path(log.name)}={log.position}"]
    for name, value in {"version": version(server), **options}.items():
        words += [f"--{name.replace('_', '-')}", value]
    return place("prepare", *words, program="place_mysql")


def refused(host, server, **options) -> str:
    """The beginning of the reason."""
    (backup,) = Store(host.folder / "mysql").manifests()
    done = prepare(host, server, backup, **options)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    return " ".join(done.stderr.split()[:9])


def version(server) -> str:
    return ".".join(server.sql("SELECT VERSION()")[0][0].split(".")[:2])


def swap(server, *words):
    (server.data / "selvage-seeding").touch()
    server.stop()
    done = place("swap", "--data", server.data, *words, program="place_mysql")
    assert done.returncode == 0, done.stderr


def until(server, statement: str, hour: int) -> str:
    """Run it, as far as the log is concerned at that hour from now; a moment before that."""
    then = datetime.now(UTC) + timedelta(hours=hour)
    server.sql(f"SET TIMESTAMP = {then.timestamp():.0f}; {statement}")
    return f"{then - timedelta(minutes=1):%Y-%m-%d %H:%M:%S}"


def test_a_table_that_was_dropped_comes_back_with_all_that_was_written_to_it(cluster, tmp_path):
    host = Host(cluster, tmp_path / "kept")
    first, second, third = cluster.members.values()
    first.sql("CREATE TABLE shop.orders (number INT PRIMARY KEY, what TEXT)")
    first.sql("INSERT INTO shop.orders SELECT seq, REPEAT('x', seq) FROM shop.seq_1_to_500")
    cluster.settle()
    with cluster.writing():
        made = host.take("mysql", "db2").manifests()[0]
    assert (made.role, made.cluster) == ("replica", "one")
    # Replication went on.
    cluster.settle()
    first.sql("INSERT INTO shop.orders VALUES (1000, 'of the day')")
    host.take("mysql-logs", "db1")
    first.sql("CREATE USER later@localhost IDENTIFIED BY 'secret'")
    first.sql("INSERT INTO shop.orders VALUES (1001, 'of the day, too')")
    (last,) = first.sql("SELECT @@gtid_binlog_pos")[0]
    before = checksum(first)
    moment = until(first, "DROP TABLE shop.orders", 2)
    cluster.settle()
    # The files of another member overlap with those that are there.
    host.take("mysql-logs", "db2")
    with pytest.raises(Invalid, match="do not reach so far"):
        host.chain(moment)
    host.now += timedelta(hours=3)
    host.take("mysql-logs", "db1")
    with pytest.raises(Invalid, match="there is no backup from before that"):
        host.chain("2020-01-01 00:00:00")

    # Aside, while all servers run.
    # It goes to another one than the primary of then, as after a failover.
    assert refused(host, third, version="9.9") == "the backup is of MariaDB 9.9, and here is"
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"x" * 10_000)
    assert refused(host, third, archive=garbage) == "the backup is no copy of a server's data:"
    backup, needed = host.chain(moment)
    done = prepare(host, third, backup, needed, until_gtid=last)
    assert (done.returncode, done.stdout.strip()) == (0, last), done.stderr
    done = prepare(host, third, backup, needed, until=moment)
    assert (done.returncode, done.stdout.strip()) == (0, last), done.stderr
    assert cluster.writers() == ["db1"]

    for server in (first, second):
        swap(server)
    swap(third, "--fill")
    third.start()
    assert checksum(third) == before
    assert third.sql("SELECT COUNT(*) FROM mysql.user WHERE user = 'later'") == [["1"]]
    # The second one is where it lets replicas be seeded.
    assert third.sql("SELECT @@gtid_binlog_pos, @@gtid_current_pos") == [[last, last]]
    assert third.sql("SHOW ALL SLAVES STATUS") == []
    # It is another cluster, in which the members of before have no place.
    assert third.sql("SELECT name = 'one' FROM selvage.cluster") == [["0"]]
    assert (third.data / "#before-restore" / "data" / "mysql").is_dir()
    third.sql("SET GLOBAL read_only = 0; INSERT INTO shop.writes VALUES (-1)")
    assert number(third.sql("SELECT @@gtid_binlog_pos")[0][0]) == number(last) + 1


def number(gtid: str) -> int:
    return int(gtid.split("-")[2])


def test_a_dump_comes_back_with_accounts_programs_and_what_was_written_since(cluster, tmp_path):
    host = Host(cluster, tmp_path / "kept", logical=True)
    first, second, third = cluster.members.values()
    first.sql("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO backup@localhost")
    first.sql("CREATE TABLE shop.orders (number INT PRIMARY KEY, what BLOB)")
    first.sql("INSERT INTO shop.orders SELECT seq, UNHEX(MD5(seq)) FROM shop.seq_1_to_500")
    first.sql("CREATE PROCEDURE shop.later() INSERT INTO shop.orders VALUES (2000, 'later')")
    first.sql("CREATE USER buyer@localhost IDENTIFIED BY 'secret'")
    first.sql("GRANT EXECUTE ON shop.* TO buyer@localhost")
    cluster.settle()
    with cluster.writing():
        host.take("mysql", "db2")
    cluster.settle()
    first.sql("INSERT INTO shop.orders VALUES (1000, 'of the day')")
    (last,) = first.sql("SELECT @@gtid_binlog_pos")[0]
    before = checksum(first)
    moment = until(first, "DROP TABLE shop.orders", 2)
    host.now += timedelta(hours=3)
    host.take("mysql-logs", "db1")

    backup, needed = host.chain(moment)
    done = prepare(host, third, backup, needed, until=moment)
    assert (done.returncode, done.stdout.strip()) == (0, last), done.stderr
    for server in (first, second):
        swap(server)
    swap(third, "--fill")
    third.start()
    assert checksum(third) == before
    assert third.sql("SELECT @@gtid_binlog_pos, @@gtid_current_pos") == [[last, last]]
    assert third.sql("SHOW GRANTS FOR buyer@localhost")[1] == [
        "GRANT EXECUTE ON `shop`.* TO `buyer`@`localhost`"
    ]
    third.sql("SET GLOBAL read_only = 0; CALL shop.later()")
    assert third.sql("SELECT COUNT(*) FROM shop.orders") == [["502"]]
