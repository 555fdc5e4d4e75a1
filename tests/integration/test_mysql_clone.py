"""Servers of MySQL itself: a replica is seeded by the clone plugin while its primary writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from mariadb import certificates
from mysql_members import load_pymysql
from mysqld import MySQL, commands
from test_mariadb import PROGRAMS, PYTHON, WRITER, look, said

import mysql
from programs import wait_for
from selvage.mysql import acting, flavours, session
from selvage.mysql.cluster import Primary, find_primary, need
from selvage.mysql.session import Source

SECRET = "secret-of-the-replicas"


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    load_pymysql()
    folder = tmp_path_factory.mktemp("tls")
    certificates(folder, [9], ca="foreign")
    certificates(folder, [1, 2])
    return folder


@pytest.fixture(scope="module")
def primary(tls):
    """Writable, with the accounts that the role makes before anything replicates."""
    server = MySQL(1, tls)
    server.install()
    server.start()
    server.sql(
        f"""
        SET GLOBAL super_read_only = 0;
        SET SESSION sql_log_bin = 0;
        CREATE USER replication@'127.0.0.1' IDENTIFIED BY '{SECRET}' REQUIRE SSL;
        GRANT REPLICATION SLAVE, BACKUP_ADMIN ON *.* TO replication@'127.0.0.1';
        CREATE DATABASE selvage;
        CREATE TABLE selvage.cluster (name VARCHAR(64) NOT NULL PRIMARY KEY);
        INSERT INTO selvage.cluster VALUES ('one');
        SET SESSION sql_log_bin = 1;
        SET GLOBAL read_only = 0;
        CREATE DATABASE shop; CREATE TABLE shop.writes (number INT PRIMARY KEY);
        """
    )
    yield server
    server.close()


@pytest.fixture
def joining(tls):
    """A server without data, marked as the role does before it deletes anything."""
    server = MySQL(2, tls)
    server.data.mkdir()
    (server.data / "selvage-seeding").touch()
    yield server
    server.close()


def seeding(server, source, tls, folder, number=None):
    """Its command, as it runs; with a certificate of that number."""
    number = number or server.number
    ca = tls / ("foreign.pem" if number == 9 else "ca.pem")
    command = [
        *(PROGRAMS / "clone-seed", server.data, source.address, str(source.port)),
        *(ca, tls / f"{number}.pem", tls / f"{number}.key"),
    ]
    (folder / "secret").write_text(f"{SECRET}\n")
    with (folder / "secret").open() as secret:
        return subprocess.Popen(
            command,
            env=commands(folder),
            start_new_session=True,
            stdin=secret,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def test_a_replica_is_cloned_while_its_primary_writes(primary, joining, tls, tmp_path):
    assert find_primary([look(primary)], "db9") == Primary(look(primary), resting=False)
    assert look(primary).flavour == flavours.MYSQL
    assert need(look(joining), look(primary)).action == "seed"
    with subprocess.Popen(
        [PYTHON, "-c", WRITER, primary.socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"writing\n"
        # One that dies on its way leaves the mark, and the next one begins anew.
        first = seeding(joining, primary, tls, tmp_path)
        wait_for(lambda: (joining.data / "selvage-clone" / "copy").exists())
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        assert look(joining).seeding
        second = seeding(joining, primary, tls, tmp_path)
        _, complaint = second.communicate(timeout=300)
        written, _ = writer.communicate(b"end", timeout=60)
    assert second.returncode == 0, complaint
    counted = json.loads(written)
    print(f"{counted['written']} rows, the longest write took {counted['longest']:.3f} s")
    assert not (joining.data / "selvage-clone").exists()

    # All is there, but it replicates from nobody yet: a run that ends here begins anew.
    assert said(joining)["seeding"]
    joining.start()
    source = Source("db1", primary.address, primary.port, SECRET, f"{tls}/ca.pem")
    with session.local(str(joining.socket), 60) as own:
        acting.follow(own, source)
        acting.wait_until_it_runs(own, 60)
    (joining.data / "selvage-seeded").unlink()
    wait_for(lambda: mysql.mysql_replicates(said(joining)))
    wait_for(lambda: look(joining).history == look(primary).history)
    rows = joining.sql("SELECT COUNT(*), MAX(number) FROM shop.writes")
    assert rows == [[str(counted["written"]), str(counted["written"] - 1)]]
    replica, found = look(joining), look(primary)
    assert (replica.cluster, replica.read_only) == ("one", True)
    assert need(replica, found).action == "keep"

    # Not even root writes on a replica; what is written there all the same stands against it.
    refused = joining._client("INSERT INTO shop.writes VALUES (-1)")
    assert b"super-read-only" in refused.stderr
    joining.sql("SET GLOBAL super_read_only = 0; INSERT INTO shop.writes VALUES (-1)")
    replica, found = look(joining), look(primary)
    refused = need(replica, found)
    assert refused.action == "refuse"
    assert f"has not: {joining.sql('SELECT @@server_uuid')[0][0]}:1;" in refused.reason


def test_a_primary_of_another_ca_seeds_nobody(primary, joining, tls, tmp_path):
    refused = seeding(joining, primary, tls, tmp_path, number=9)
    _, complaint = refused.communicate(timeout=300)
    assert refused.returncode != 0
    assert b"certificate verify failed" in complaint, complaint
    assert SECRET.encode() not in complaint
    for path in joining.data.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert look(joining).seeding


def test_nothing_is_deleted_without_the_mark(primary, joining, tls, tmp_path):
    (joining.data / "selvage-seeding").rename(joining.data / "precious")
    refused = seeding(joining, primary, tls, tmp_path)
    _, complaint = refused.communicate(timeout=60)
    assert refused.returncode != 0
    assert b"selvage-seeding is missing" in complaint
    assert (joining.data / "precious").exists()
