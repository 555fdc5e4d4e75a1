"""Servers of MariaDB on loopback, with TLS, each in a folder of its own; mysqld.py has MySQL's."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from programs import Program, free_port, wait_for

SETTINGS = """
[mariadbd]
log_bin = binlog
log_slave_updates = ON
gtid_strict_mode = ON
binlog_format = ROW
read_only = ON
skip_name_resolve = ON
innodb_buffer_pool_size = 32M
innodb_log_file_size = 16M
rpl_semi_sync_slave_enabled = ON
rpl_semi_sync_master_wait_point = AFTER_SYNC
rpl_semi_sync_master_timeout = 4294967295
slave_parallel_threads = 4
slave_parallel_mode = optimistic
performance_schema = OFF
"""
PACKAGES = Path(tempfile.mkdtemp(prefix="selvage-sql-packages-"))
atexit.register(shutil.rmtree, PACKAGES)


class SqlServer(Program):
    """One server, read-only at each start; root comes in by the socket, as on a node."""

    # What the flavours have each of their own.
    settings: str
    program: tuple[str, ...]
    # Before root may write.
    begin = ""
    # How many commits wait for a replica.
    waiting: str
    # By which a former primary takes back what no replica has.
    demoted: tuple[str, ...] = ()

    def __init__(self, number: int, tls: Path) -> None:
        super().__init__(type(self).__name__.lower())
        self.number, self.tls = number, tls
        self.address = f"127.0.0.{number}"
        self.port = free_port()
        self.data = self.folder / "data"
        self.socket = self.folder / "socket"
        self.options = self.folder / "my.cnf"
        self.options.write_text(
            f"{self.settings}\nuser = root\ndatadir = {self.data}\nsocket = {self.socket}\n"
            f"pid_file = {self.folder}/pid\nport = {self.port}\nbind_address = {self.address}\n"
            f"server_id = {number}\nssl_ca = {tls}/ca.pem\n"
            f"ssl_cert = {tls}/{number}.pem\nssl_key = {tls}/{number}.key\n"
        )

    def install(self) -> None:
        """As Debian's package does, once: all new servers have the same data."""
        package = PACKAGES / type(self).__name__
        if not (package / "data").exists():
            package.mkdir()
            options = package / "my.cnf"
            options.write_text(f"{self.settings}\nuser = root\ndatadir = {package}/data\n")
            self.make_data(options)
        self.copy(package / "data")

    def make_data(self, options: Path) -> None:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """In which its client is found."""
        return {**os.environ}

    def table(self, file: str) -> bool:
        """Whether it keeps in there by which password it logs in at its source."""
        return False

    def copy(self, data: Path) -> None:
        """These data are its own."""
        shutil.copytree(data, self.data)

    def start(self, *options: str) -> None:
        self.run(*self.program, f"--defaults-file={self.options}", *options)
        wait_for(self.answers)

    def answers(self) -> bool:
        return self._client("SELECT 1").returncode == 0

    def sql(self, statements: str) -> list[list[str]]:
        """Rows of fields; the statements go in by stdin, as secrets do."""
        done = self._client(statements)
        assert done.returncode == 0, done.stderr.decode()
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def _client(self, statements: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", "-N", "-B"],
            input=statements.encode(),
            capture_output=True,
        )


class MariaDB(SqlServer):
    """Debian's."""

    settings = SETTINGS
    program = ("mariadbd",)
    waiting = "Rpl_semi_sync_master_wait_sessions"
    demoted = ("--init-rpl-role=SLAVE",)

    def make_data(self, options: Path) -> None:
        made_by(
            *("mariadb-install-db", f"--defaults-file={options}"),
            *("--user=root", "--skip-test-db", "--disable-log-bin"),
        )


def made_by(*command: str) -> None:
    """It ends well."""
    subprocess.run(command, check=True, capture_output=True)


def certificates(folder: Path, numbers: list[int], ca: str = "ca") -> None:
    """A CA and a certificate by it for each loopback address."""
    _openssl(
        *("-subj", f"/CN={ca}"),
        *("-keyout", folder / f"{ca}.key", "-out", folder / f"{ca}.pem"),
    )
    for number in numbers:
        certificate(folder, number, ca)


def certificate(folder: Path, number: int, ca: str = "ca") -> None:
    """One that takes the place of a former one; its key, too."""
    _openssl(
        *("-subj", f"/CN=db{number}"),
        *("-addext", f"subjectAltName=IP:127.0.0.{number}"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-CA", folder / f"{ca}.pem", "-CAkey", folder / f"{ca}.key"),
        *("-keyout", folder / f"{number}.key", "-out", folder / f"{number}.pem"),
    )


def _openssl(*arguments: str | Path) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run(
        ["openssl", "req", *curve, "-x509", "-days", "2", *arguments],
        check=True,
        capture_output=True,
    )
