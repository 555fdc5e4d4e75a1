"""Passwords of real servers rotate while clients write, and nothing is written down in clear."""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mariadb import certificate
from plugin_utils import data_tiers

from programs import wait_for
from selvage.mysql import acting, session
from selvage.mysql.accounts import Account
from selvage.mysql.session import Source, SqlError

# What the other tests of these servers use.
FORMER = "secret"
NEW = "new-of-the-rotation-tests"
ACCESS_DENIED = 1045


def account(name: str, *passwords: str) -> Account:
    return Account(name, "127.0.0.1", passwords)


class Client:
    """Logs in anew for each row, and writes on over one old connection, too."""

    def __init__(self, cluster: Any, primary: str) -> None:
        member = cluster.members[primary]
        self.place = {
            **{"host": member.address, "port": member.port, "user": "shop"},
            "ssl": ssl.create_default_context(cafile=cluster.tls / "ca.pem"),
        }
        self.password = FORMER
        self.written: list[int] = []
        self.failed: list[str] = []
        cluster.written += 1_000_000
        self._next = cluster.written
        self._over = threading.Event()

    @contextmanager
    def writing(self) -> Iterator[None]:
        import pymysql

        old = pymysql.connect(**self.place, password=self.password, autocommit=True)

        def write() -> None:
            while not self._over.is_set():
                try:
                    new = pymysql.connect(
                        **self.place, password=self.password, autocommit=True, read_timeout=60
                    )
                    for connection in (new, old):
                        self._next += 1
                        with connection.cursor() as cursor:
                            cursor.execute("INSERT INTO shop.writes VALUES (%s)", (self._next,))
                        self.written.append(self._next)
                    new.close()
                except pymysql.err.Error as error:
                    self.failed.append(str(error))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            self.some_more()
            yield
            self.some_more()
        finally:
            self._over.set()
            thread.join()
            old.close()

    def some_more(self) -> None:
        """Rows that were begun from now on."""
        enough = len(self.written) + 20
        wait_for(lambda: len(self.written) >= enough or self.failed)


def refused(cluster: Any, primary: str, name: str, password: str) -> bool:
    member = cluster.members[primary]
    source = Source(primary, member.address, member.port, password, f"{cluster.tls}/ca.pem", name)
    try:
        with session.remote(source, 20):
            return False
    except SqlError as error:
        assert error.number == ACCESS_DENIED, error
        return True


def login(cluster: Any, primary: str, *passwords: str) -> str:
    """By which of them a replica would come in."""
    member = cluster.members[primary]
    place = {"name": primary, "address": member.address, "port": member.port}
    given = {**place, "passwords": passwords, "ca": f"{cluster.tls}/ca.pem"}
    return session.known(given, 20).password


def written_down(folder: Path, text: str) -> set[str]:
    """The files of a server that have it: its logs, too."""
    done = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", text, folder],
        capture_output=True,
        text=True,
    )
    return {Path(line).name for line in done.stdout.splitlines()}


def rotate(cluster: Any, primary: str, client: Client, former: str, new: str) -> None:
    """As the playbook does, with a look after each step."""
    replicas = [name for name in cluster.members if name != primary]
    with cluster.session(primary) as own:
        for name in ("shop", "replication"):
            both = account(name, new, former)
            assert acting.let_in(own, both, exact=True, dry_run=True)
            assert acting.let_in(own, both, exact=True)
            assert acting.let_in(own, both, exact=True) is None
    assert not any(refused(cluster, primary, "shop", word) for word in (former, new))
    assert login(cluster, primary, new, former) == new
    client.some_more()
    client.password = new
    client.some_more()
    for name in replicas:
        with cluster.session(name) as own:
            acting.log_in_by(own, new, 60)
    with cluster.session(primary) as own:
        for name in ("shop", "replication"):
            assert acting.let_in(own, account(name, new), exact=True)
    assert refused(cluster, primary, "shop", former)
    # Whoever promotes a replica before the next rotation has begun.
    assert login(cluster, primary, former, new) == new
    assert not refused(cluster, primary, "shop", new)
    client.some_more()
    # They come in anew, where the former one lets in no more.
    for name in replicas:
        with cluster.session(name) as own:
            own.rows("STOP REPLICA IO_THREAD")
            own.rows("START REPLICA IO_THREAD")
            acting.wait_until_it_runs(own, 60)
            file = cluster.members[name].data / "master.info"
            assert acting.source_password(own, file.read_text) == new


def test_passwords_rotate_while_clients_write(cluster):
    (primary,) = cluster.writers()
    for member in cluster.members.values():
        member.sql("SET GLOBAL log_output = 'FILE'; SET GLOBAL general_log = ON")
    before = [
        cluster.members[primary].sql(f"SHOW GRANTS FOR {name}@'127.0.0.1'")
        for name in ("shop", "replication")
    ]
    client = Client(cluster, primary)
    with client.writing():
        rotate(cluster, primary, client, FORMER, NEW)
        rotate(cluster, primary, client, NEW, FORMER)
    cluster.settle()
    lost = {*client.written} - cluster.rows(primary)
    print(
        f"two rotations: {len(client.written)} rows, {len(client.failed)} requests failed, "
        f"{len(lost)} lost"
    )
    assert (client.failed, lost) == ([], set())
    after = [
        cluster.members[primary].sql(f"SHOW GRANTS FOR {name}@'127.0.0.1'")
        for name in ("shop", "replication")
    ]
    assert after == before
    for member in cluster.members.values():
        member.sql("SET GLOBAL general_log = OFF; FLUSH LOGS")
        # Of tables, which only the server reads, MySQL keeps it in one.
        logs = {name for name in written_down(member.data, NEW) if not member.table(name)}
        assert logs == set()
        # The search would find it: the logs have what clients said.
        assert any("binlog" in name for name in written_down(member.data, "ALTER USER"))


def served(member: Any) -> str:
    """The certificate that a new connection gets to see."""
    done = subprocess.run(
        [
            "openssl",
            "s_client",
            "-starttls",
            "mysql",
            "-connect",
            f"{member.address}:{member.port}",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return re.search(r"-----BEGIN CERT.*END CERT[^\n]*", done.stdout, re.DOTALL)[0].strip()


def test_certificates_are_renewed_while_clients_write(cluster):
    """By what role certificates tells the server, replicas too."""
    (primary,) = cluster.writers()
    flavour = cluster.look()[0].flavour
    (told,) = data_tiers.certificates({"mysql"}, {"mysql_flavour": flavour.name})
    client = Client(cluster, primary)
    with client.writing():
        for _ in range(5):
            for member in cluster.members.values():
                certificate(cluster.tls, member.number)
                new = (cluster.tls / f"{member.number}.pem").read_text().strip()
                assert served(member) != new
                subprocess.run(
                    [*told["load"], f"--socket={member.socket}", "--user=root"],
                    check=True,
                    env=member.environment(),
                )
                assert served(member) == new
                client.some_more()
    cluster.settle()
    lost = {*client.written} - cluster.rows(primary)
    print(
        f"15 certificates: {len(client.written)} rows, {len(client.failed)} requests failed, "
        f"{len(lost)} lost"
    )
    assert (client.failed, lost) == ([], set())
