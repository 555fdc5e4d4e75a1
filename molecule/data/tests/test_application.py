"""An application at 127.0.0.1, which knows no server by name."""

import pytest

from conftest import EVERY, MYSQL, given, mysql, redis
from labs import shell, wait_for

WRITES, READS = 3307, 3306


def primary() -> str:
    """Who answers at the port for writes."""
    return mysql("SELECT @@hostname", WRITES).strip()


def explained() -> str:
    """What an operator sees there of those that do not serve reads."""
    return shell("app1", "selvage explain mysql-replica")


def readers() -> set[str]:
    """Who answers at the port for reads, over some connections."""
    return {mysql("SELECT @@hostname", READS).strip() for _ in range(6)}


@pytest.mark.parametrize("name", EVERY)
def test_nothing_failed(name):
    assert shell(name, "systemctl --failed --no-legend --plain") == ""


def test_a_row_that_is_written_is_read_from_every_replica():
    mysql("CREATE TABLE IF NOT EXISTS seen (id INT AUTO_INCREMENT PRIMARY KEY)", WRITES)
    number = mysql("INSERT INTO seen VALUES (); SELECT LAST_INSERT_ID()", WRITES).strip()
    replicas = {*MYSQL} - {primary()}
    found = set()

    def everywhere() -> bool:
        found.update(mysql(f"SELECT @@hostname FROM seen WHERE id = {number}", READS).split())
        return found == replicas

    wait_for(everywhere, "the row on each replica")


def test_a_replica_takes_no_writes():
    with pytest.raises(AssertionError, match="read-only"):
        mysql("INSERT INTO seen VALUES ()", READS)


def test_both_ports_speak_tls_with_the_fabrics_ca_and_nothing_else():
    for port in (WRITES, READS):
        assert "TLS" in mysql("SHOW STATUS LIKE 'Ssl_version'", port)
        with pytest.raises(AssertionError, match="Access denied"):
            mysql("SELECT 1", port, "--skip-ssl")
    with pytest.raises(AssertionError, match="certificate"):
        mysql("SELECT 1", WRITES, "--ssl-ca=/etc/ssl/certs/ca-certificates.crt")


def test_what_redis_took_is_read_from_its_replicas():
    assert redis("SET orders:1 new", 6379) == "OK"
    wait_for(lambda: redis("GET orders:1", 6380) == "new", "the value at a replica")
    assert "READONLY" in redis("SET orders:1 other", 6380)


def test_a_replica_that_stops_leaves_and_is_named():
    replica = next(name for name in MYSQL if name != primary())
    root = "mariadb --batch --skip-column-names"
    given(replica, root, "STOP SLAVE SQL_THREAD")
    try:
        wait_for(lambda: replica not in readers(), "no reads from it")
        status = shell(replica, "journalctl --unit selvage-registrar --lines 20")
        assert "not healthy service=mysql-replica" in status
        wait_for(lambda: f"  {replica}_3306  replication stopped" in explained(), "its reason")
    finally:
        given(replica, root, "START SLAVE SQL_THREAD")
    wait_for(lambda: replica in readers(), "reads from it again")
    assert f"{replica}_3306  replication stopped" not in explained()
