"""No secret of the data tiers stands where it does not belong, whatever the other tests did."""

import pytest

import secrecy
from conftest import EVERY, OPTIONS, secrets
from labs import SSH_CONFIG

# Read by nobody but their programs.
KEPT = {
    "mysql_backup_passwords": ["/etc/mysql/selvage-backup.cnf"],
    # Also of a replica as it was before a restore.
    "mysql_replication_passwords": [
        *("/var/lib/mysql/master.info", "/var/lib/mysql/#before-restore/data/master.info"),
    ],
    "mysql_shop": [OPTIONS],
    "redis_replication_passwords": ["/etc/selvage-redis/secrets.conf", "/var/lib/redis/state.conf"],
    "redis_sentinel_passwords": [
        *("/etc/selvage-redis/sentinel-secrets.conf", "/var/lib/redis/sentinel.conf"),
    ],
}


@pytest.mark.parametrize("name", EVERY)
def test_no_secret_leaks(name):
    assert secrecy.leaks(secrecy.over_ssh(SSH_CONFIG, name), secrets(), KEPT) == []
