"""Servers of several versions and flavours: who may replicate from whom, by what they say."""

from __future__ import annotations

import pytest
from mariadb import MariaDB, certificates
from mysqld import MySQL, NewerMariaDB
from test_mariadb import look

from selvage.mysql.cluster import need

CLUSTER = """
SET SESSION sql_log_bin = 0;
CREATE DATABASE selvage;
CREATE TABLE selvage.cluster (name VARCHAR(64) NOT NULL PRIMARY KEY);
INSERT INTO selvage.cluster VALUES ('one');
"""


@pytest.fixture
def member(tmp_path):
    """Servers with data of one cluster."""
    certificates(tmp_path, [1, 2])
    started = []

    def start(kind, number):
        server = kind(number, tmp_path)
        started.append(server)
        server.install()
        server.start()
        server.sql(server.begin + CLUSTER)
        return server

    yield start
    for server in started:
        server.close()


@pytest.mark.parametrize(
    ("replicas", "primarys", "words"),
    [
        (
            MariaDB,
            NewerMariaDB,
            "db2 runs MariaDB 10.11 and cannot replicate from db1 with Ma",
        ),
        (MariaDB, MySQL, "db2 runs MariaDB 10.11 and cannot replicate from db1 with MySQL 9"),
    ],
)
def test_an_older_replica_and_one_of_the_other_flavour_are_refused(
    member, replicas, primarys, words
):
    primary, replica = look(member(primarys, 1)), look(member(replicas, 2))
    refused = need(replica, primary)
    print(f"{refused.action}: {refused.reason}")
    assert refused.action == "refuse"
    assert refused.reason.startswith(words)
    assert refused.reason.endswith(": upgrade replicas first")


def test_a_newer_replica_is_none_to_refuse(member):
    primary, replica = look(member(MariaDB, 1)), look(member(NewerMariaDB, 2))
    assert (replica.version > primary.version, need(replica, primary).action) == (True, "rejoin")
