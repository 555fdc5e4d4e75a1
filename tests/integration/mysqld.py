"""Servers of MySQL on loopback, as those in mariadb.py, from a root with Debian sid's packages."""

from __future__ import annotations

import os
from pathlib import Path

from mariadb import MariaDB, SqlServer, made_by

ROOT = os.environ.get("SELVAGE_TEST_MYSQL", "")
# A newer release's MariaDB than this machine's.
NEWER = os.environ.get("SELVAGE_TEST_MARIADB", "")


def inside(root: str, program: str) -> tuple[str, ...]:
    """The program from there, with the libraries from there."""
    loader = f"{root}/usr/lib64/ld-linux-x86-64.so.2"
    return loader, "--library-path", f"{root}/usr/lib/x86_64-linux-gnu", f"{root}/{program}"


MYSQLD = inside(ROOT, "usr/sbin/mysqld")
SETTINGS = f"""
[mysqld]
log_bin = binlog
gtid_mode = ON
enforce_gtid_consistency = ON
super_read_only = ON
skip_name_resolve = ON
innodb_buffer_pool_size = 32M
innodb_redo_log_capacity = 16M
plugin_dir = {ROOT}/usr/lib/mysql/plugin
lc_messages_dir = {ROOT}/usr/share/mysql
character_sets_dir = {ROOT}/usr/share/mysql/charsets
plugin_load_add = semisync_source.so
plugin_load_add = semisync_replica.so
plugin_load_add = mysql_clone.so
loose_rpl_semi_sync_replica_enabled = ON
loose_rpl_semi_sync_source_wait_point = AFTER_SYNC
loose_rpl_semi_sync_source_timeout = 4294967295
replica_parallel_workers = 4
performance_schema = OFF
mysqlx = OFF
secure_file_priv = NULL
innodb_flush_method = nosync
innodb_doublewrite = OFF
sync_binlog = 0
"""


def commands(folder: Path) -> dict[str, str]:
    """An environment in which these programs are called as on a node."""
    places = ("plugin_dir=usr/lib/mysql/plugin", "lc_messages_dir=usr/share/mysql")
    options = " ".join(f"--{place.replace('=', f'={ROOT}/')}" for place in places)
    for name, more in (("usr/sbin/mysqld", f"--user=root {options}"), ("usr/bin/mysql", "")):
        command = folder / Path(name).name
        command.write_text(f'#!/bin/sh\nexec {" ".join(inside(ROOT, name))} "$@" {more}\n')
        command.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


class MySQL(SqlServer):
    """One server, read-only at each start; root comes in by the socket, as on a node."""

    settings = SETTINGS
    program = MYSQLD
    waiting = "Rpl_semi_sync_source_wait_sessions"
    begin = "SET GLOBAL super_read_only = 0;"

    def make_data(self, options: Path) -> None:
        first = options.with_suffix(".sql")
        first.write_text(
            "SET SESSION sql_log_bin = 0;\n"
            "INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';\n"
            "ALTER USER root@localhost IDENTIFIED WITH auth_socket;\n"
        )
        place = (f"--defaults-file={options}", f"--init-file={first}")
        made_by(*self.program, *place, "--initialize-insecure")

    def environment(self) -> dict[str, str]:
        return commands(self.folder)

    def table(self, file: str) -> bool:
        return file == "mysql.ibd" or file.startswith(("#ib_redo", "undo_"))

    def copy(self, data: Path) -> None:
        super().copy(data)
        # By this two servers with the same data are two.
        (self.data / "auto.cnf").unlink(missing_ok=True)


class NewerMariaDB(MariaDB):
    """Its data are made by this machine's, as before an upgrade."""

    program = inside(NEWER, "usr/sbin/mariadbd")

    def start(self, *options: str) -> None:
        places = {"lc-messages-dir": "mariadb", "character-sets-dir": "mariadb/charsets"}
        more = [f"--{name}={NEWER}/usr/share/{place}" for name, place in places.items()]
        super().start(*more, *options)
