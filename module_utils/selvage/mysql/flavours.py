"""What MariaDB and MySQL call differently: statements, and how their answers are read. Pure.

Both say REPLICA, and to both `read_only = 0` lets clients write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from . import accounts, dual_passwords, gtid
from .accounts import Change
from .gtid import History


@dataclass(frozen=True)
class Flavour:
    """One of the two. Expressions are what a SELECT asks for."""

    # In variables, and in sentences.
    name: str
    title: str
    # A row for each source, and which of its columns says what came over from there.
    status: str
    received: str
    # The variables that together say which transactions a server has, and how they are read.
    positions: tuple[str, ...]
    history: Callable[..., History]
    # How far a replica has applied, and what a primary has committed, as `wait` takes it.
    applied: str
    committed: str
    # 0 once everything up to a position (%s) is applied, within so many seconds (%s).
    wait: str
    # The variable by which a primary's commits wait for a replica.
    semi_sync: str
    # The variable that stops all writes, also those of administrators where that is possible.
    read_only: str
    # Before a server that wrote itself gets a source.
    go_on: tuple[str, ...]
    # Address, port, user, password, CA.
    point: str
    # Another password for the same source.
    password: str
    # What is kept of how an account (name, host) logs in, and what changes its passwords.
    account: str
    change: Callable[..., Change | None]
    # By which user and password it logs in at its source; None where that stands in master.info.
    source: str | None
    # At the begin of each connection that may say a password: no log has it.
    quiet: str


MARIADB: Final = Flavour(
    name="mariadb",
    title="MariaDB",
    status="SHOW ALL SLAVES STATUS",
    received="Gtid_IO_Pos",
    positions=("gtid_binlog_state", "gtid_slave_pos"),
    history=gtid.mariadb,
    applied="@@GLOBAL.gtid_slave_pos",
    committed="@@GLOBAL.gtid_binlog_pos",
    wait="MASTER_GTID_WAIT(%s, %s)",
    semi_sync="rpl_semi_sync_master_enabled",
    # Administrators may: there is nothing that stops them.
    read_only="read_only",
    go_on=("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos",),
    point=(
        "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = %s, "
        "MASTER_PASSWORD = %s, MASTER_CONNECT_RETRY = 5, MASTER_USE_GTID = slave_pos, "
        "MASTER_SSL = 1, MASTER_SSL_CA = %s, MASTER_SSL_VERIFY_SERVER_CERT = 1"
    ),
    password="CHANGE MASTER TO MASTER_PASSWORD = %s",  # noqa: S106
    account="SELECT Priv AS found FROM mysql.global_priv WHERE User = %s AND Host = %s",
    change=accounts.change,
    source=None,
    quiet="SET SESSION sql_log_off = 1, SESSION slow_query_log = 0",
)
MYSQL: Final = Flavour(
    name="mysql",
    title="MySQL",
    status="SHOW REPLICA STATUS",
    received="Retrieved_Gtid_Set",
    positions=("gtid_executed",),
    history=gtid.mysql,
    applied="@@GLOBAL.gtid_executed",
    committed="@@GLOBAL.gtid_executed",
    wait="WAIT_FOR_EXECUTED_GTID_SET(%s, %s)",
    semi_sync="rpl_semi_sync_source_enabled",
    # It makes `read_only` so, too, and goes with it.
    read_only="super_read_only",
    go_on=(),
    # 0: it tries again for ever, as MariaDB does.
    point=(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s, "
        "SOURCE_PASSWORD = %s, SOURCE_CONNECT_RETRY = 5, SOURCE_RETRY_COUNT = 0, "
        "SOURCE_AUTO_POSITION = 1, "
        "SOURCE_SSL = 1, SOURCE_SSL_CA = %s, SOURCE_SSL_VERIFY_SERVER_CERT = 1"
    ),
    password="CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = %s",  # noqa: S106
    account=(
        "SELECT JSON_OBJECT('plugin', plugin, 'text', authentication_string, "
        "'more', User_attributes) AS found FROM mysql.user WHERE User = %s AND Host = %s"
    ),
    change=dual_passwords.change,
    source="SELECT User_name AS user, User_password AS password FROM mysql.slave_master_info",
    # It writes <secret> into its logs in place of a password by itself.
    quiet="SET SESSION sql_log_off = 1",
)
# A file that each has, and the other one has not, from the first start on.
_FILES: Final = {"mysql.ibd": MYSQL, "aria_log_control": MARIADB}
ALL: Final = (MARIADB, MYSQL)


def of(version: str) -> Flavour:
    """By what a server says when somebody comes in, or as `@@version`."""
    return MARIADB if "mariadb" in version.lower() else MYSQL


def of_files(names: Iterable[str]) -> str | None:
    """Whose data a directory has, by what is in it: a server that is stopped says nothing."""
    return next((_FILES[name].name for name in names if name in _FILES), None)
