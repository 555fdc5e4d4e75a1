"""What MariaDB and MySQL call differently, and what a replica that was a primary leaves behind."""

from __future__ import annotations

import dataclasses

import pytest
from clusters import SAID, server

from selvage.mysql import acting, flavours, servers
from selvage.mysql.cluster import need
from selvage.mysql.session import Source


class Told:
    """A session that only remembers its statements."""

    def __init__(self, flavour):
        self.flavour, self.statements = flavour, []

    def rows(self, statement, *values):
        assert statement.count("%s") == len(values)
        self.statements.append(statement)
        return []


@pytest.mark.parametrize(
    ("said", "flavour"),
    [
        ("5.5.5-10.11.14-MariaDB-0+deb12u2-log", flavours.MARIADB),
        ("11.8.3-MariaDB", flavours.MARIADB),
        ("9.7.4-2", flavours.MYSQL),
        ("8.4.6", flavours.MYSQL),
    ],
)
def test_a_server_says_which_it_is(said, flavour):
    assert flavours.of(said) is flavour


@pytest.mark.parametrize("flavour", flavours.ALL)
def test_a_replica_is_read_only_before_it_has_a_source_and_checks_its_certificate(flavour):
    told = Told(flavour)
    acting.follow(told, Source("db1", "198.18.0.1", 3306, "secret", "/ca.pem"))
    (change,) = (one for one in told.statements if one.startswith("CHANGE"))
    assert "SSL_VERIFY_SERVER_CERT = 1" in change
    assert f"SET GLOBAL {flavour.read_only} = 1" in told.statements[: told.statements.index(change)]
    assert f"SET GLOBAL {flavour.semi_sync} = OFF" in told.statements
    assert not any("secret" in one for one in told.statements)


def test_a_replica_whose_commits_wait_for_replicas_gets_its_source_anew():
    """Killed between its last two steps a former primary is one, and would apply nothing."""
    variables = {**SAID["variables"], "rpl_semi_sync_master_enabled": "ON"}
    said = {**SAID, "variables": variables}
    found = servers.parse("db2", "198.18.0.2", 3306, said)
    assert found.waits
    primary = server("db1", history=found.history)
    assert need(found, primary).action == "replicate"
    assert need(dataclasses.replace(found, waits=False), primary).action == "keep"
