"""Three servers that replicate, a client that writes, and plans that are carried out."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mariadb import SqlServer, certificates

from programs import wait_for
from selvage.mysql import acting, handover, servers, session
from selvage.mysql.handover import Limits
from selvage.mysql.promotion import Action, Plan
from selvage.mysql.session import Session, Source

PATIENT = Limits(ready_s=60, pause_s=20)
# Debian's Python has PyMySQL, as on a node; a virtual environment's may load it, too.
PYTHON = "/usr/bin/python3"
PACKAGES = Path("/usr/lib/python3/dist-packages")
# Each row has a number of its own. Acknowledged ones are told at the end, with the longest time
# between two of them. Whoever refuses to write is left for the next server.
WRITER = """
import itertools, json, select, sys, time, pymysql
places, first = itertools.cycle(json.loads(sys.argv[1])), int(sys.argv[2])
connection, acknowledged, last, longest, told = None, [], time.monotonic(), 0.0, False
for number in itertools.count(first):
    if select.select([sys.stdin], [], [], 0.002)[0]:
        break
    try:
        if connection is None:
            connection = pymysql.connect(
                **next(places), autocommit=True, connect_timeout=2, read_timeout=5)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop.writes VALUES (%s)", (number,))
    except pymysql.err.Error:
        if connection is not None and connection.open:
            connection.close()
        connection = None
        continue
    now = time.monotonic()
    if acknowledged:
        longest = max(longest, now - last)
    last = now
    acknowledged.append(number)
    if not told:
        print("writing", flush=True)
        told = True
print(json.dumps({"acknowledged": acknowledged, "longest": longest}))
"""


def load_pymysql() -> None:
    """Debian's, and nothing else from where it is."""
    # Once: loaded anew the package would lack those of its modules that are there already.
    if "pymysql" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "pymysql",
        PACKAGES / "pymysql" / "__init__.py",
        submodule_search_locations=[str(PACKAGES / "pymysql")],
    )
    assert spec and spec.loader
    sys.modules["pymysql"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["pymysql"])


class Cluster:
    """db1 to db3; db1 is the first primary."""

    def __init__(self, tls: Path, kind: type[SqlServer]) -> None:
        load_pymysql()
        certificates(tls, [1, 2, 3])
        self.tls = tls
        self.members = {f"db{number}": kind(number, tls) for number in (1, 2, 3)}
        self.written = 0
        first, *others = self.members.values()
        first.install()
        for other in others:
            other.copy(first.data)
        for member in self.members.values():
            member.start()
            member.sql(
                member.begin
                + """
                SET SESSION sql_log_bin = 0;
                CREATE USER replication@'127.0.0.1' IDENTIFIED BY 'secret' REQUIRE SSL;
                GRANT REPLICATION SLAVE ON *.* TO replication@'127.0.0.1';
                CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'secret';
                GRANT INSERT, SELECT, LOCK TABLES ON shop.* TO shop@'127.0.0.1';
                CREATE DATABASE selvage; CREATE DATABASE shop;
                CREATE TABLE selvage.cluster (name VARCHAR(64) NOT NULL PRIMARY KEY);
                INSERT INTO selvage.cluster VALUES ('one');
                CREATE TABLE shop.writes (number INT PRIMARY KEY);
                """
            )
        for name in ("db2", "db3"):
            with self.session(name) as own:
                acting.follow(own, self.source("db1"))
        with self.session("db1") as own:
            acting.writable(own, semi_sync=True)
        self.settle()

    def close(self) -> None:
        for member in self.members.values():
            member.close()

    def session(self, name: str) -> Any:
        return session.local(str(self.members[name].socket), 120)

    def source(self, name: str) -> Source:
        member = self.members[name]
        return Source(name, member.address, member.port, "secret", f"{self.tls}/ca.pem")

    def look(self) -> list[servers.Server]:
        """What all members say, the primary last."""
        said = {name: self._said(name) for name in self.members}
        for name, one in said.items():
            if one.problem is None and not one.read_only:
                said[name] = self._said(name)
        return [*said.values()]

    def _said(self, name: str) -> servers.Server:
        from_disk = {"seeding": False, "data": True, "problem": None}
        member = self.members[name]
        try:
            with self.session(name) as own:
                names = ("version", "server_id", "read_only", own.flavour.semi_sync)
                names += own.flavour.positions
                found = own.rows("SHOW GLOBAL VARIABLES LIKE 'gtid_owned'")
                found += own.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN %s", names)
                answer = {
                    "variables": {row["Variable_name"]: row["Value"] for row in found},
                    "replication": own.rows(own.flavour.status),
                    "databases": [row["Database"] for row in own.rows("SHOW DATABASES")],
                    "cluster": own.rows("SELECT name FROM selvage.cluster")[0]["name"],
                }
        except session.SqlError as error:
            answer = {"problem": str(error)}
        return servers.parse(name, member.address, member.port, {**from_disk, **answer})

    def writers(self) -> list[str]:
        return [one.name for one in self.look() if one.holds_data and not one.read_only]

    def settle(self) -> None:
        """One writes, and the others replicate all of it."""

        def settled() -> bool:
            looks = self.look()
            (primary,) = (one for one in looks if one.replication is None)
            return not primary.read_only and all(
                one.replication
                and one.replication.runs
                and one.replication.port == primary.port
                and one.history == primary.history
                for one in looks
                if one is not primary
            )

        wait_for(settled)

    def carry_out(self, plan: Plan) -> float | None:
        """As the playbooks do; the seconds without a writer, of a handover."""
        paused, steps = None, plan.steps
        if plan.giver is not None:
            paused = self.hand_over(plan.giver, plan.target)
            steps = steps[plan.no_return + 1 :]
        for step in steps:
            self.tell(step.action)
        return paused

    def tell(self, action: Action) -> None:
        with self.session(action.server) as own:
            match action.do:
                case "writable":
                    acting.writable(own, semi_sync=True)
                case "follow":
                    acting.follow(own, self.source(action.other))
                    acting.wait_until_it_runs(own, 60)
                case "catch_up":
                    (other,) = (one for one in self.look() if one.name == action.other)
                    acting.catch_up(own, other.received.position(), 60)
                case "apply_received":
                    acting.apply_received(own, 60)
                case simple:
                    getattr(acting, simple)(own)

    def hand_over(self, giver: str, taker: str, limits: Limits = PATIENT, **connects: Any) -> float:
        """Both sides at the same time; an assertion fails with what they raised."""
        connect = {"give": self.connect(giver), "take": self.connect(taker), **connects}
        token = str(time.monotonic_ns())
        with ThreadPoolExecutor() as pool:
            gives = pool.submit(handover.give, connect["give"], self.source(taker), token, limits)
            takes = pool.submit(
                handover.take,
                *(connect["take"], connect.get("there", lambda: self.there(giver))),
                *(self.source(giver), token, limits),
            )
        problems = [str(error) for side in (gives, takes) if (error := side.exception())]
        assert not problems, problems
        return gives.result()

    def seed(self, name: str, source: str) -> None:
        """The source's data, as a role would bring them; nobody writes meanwhile."""
        own, other = self.members[name], self.members[source]
        own.stop()
        shutil.rmtree(own.data)
        other.stop()
        own.copy(other.data)
        for member in (own, other):
            member.start()
        with self.session(name) as fresh:
            acting.forget(fresh)
        with self.session(source) as again:
            acting.writable(again, semi_sync=True)

    def connect(self, name: str) -> Any:
        return lambda: self.session(name)

    def there(self, name: str) -> Any:
        return session.remote(self.source(name), 120)

    @contextmanager
    def writing(self) -> Iterator[dict[str, Any]]:
        """A client with some 500 writes in a second; at the end, what was acknowledged to it."""
        shop = {"user": "shop", "password": "secret", "ssl_ca": f"{self.tls}/ca.pem"}
        places = [{"host": one.address, "port": one.port} | shop for one in self.members.values()]
        result: dict[str, Any] = {}
        self.written += 1_000_000
        with subprocess.Popen(
            [PYTHON, "-c", WRITER, json.dumps(places), str(self.written)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as writer:
            assert writer.stdout and writer.stdout.readline() == b"writing\n"
            yield result
            # It has found the new primary once more rows than now are there.
            (primary,) = self.writers()
            some = len(self.rows(primary))
            wait_for(lambda: len(self.rows(primary)) > some)
            told, _ = writer.communicate(b"end", timeout=120)
        result.update(json.loads(told))

    @contextmanager
    def watched(self) -> Iterator[list[list[str]]]:
        """Asks all, every 50 ms, whether they write; two at once are an error at the end."""
        seen: list[list[str]] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                seen.append([name for name in self.members if self._writes(name)])

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            over.set()
            watcher.join()
        assert seen and all(len(writers) <= 1 for writers in seen), seen

    def _writes(self, name: str) -> bool:
        try:
            with self.session(name) as own:
                return not own.value("@@GLOBAL.read_only")
        except session.SqlError:
            return False

    def rows(self, name: str) -> set[int]:
        return {int(row[0]) for row in self.members[name].sql("SELECT number FROM shop.writes")}


class Breaking(Session):
    """Its n-th statement fails, or its process dies with it; those that only look do not count."""

    def __init__(self, inner: Session, counter: list[int], error: type[BaseException]) -> None:
        self._inner, self._counter, self._error = inner, counter, error
        self.flavour = inner.flavour

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        if "IS_USED_LOCK" not in statement and "SHOW" not in statement:
            self._counter[0] -= 1
            if self._counter[0] == 0:
                raise self._error(f"broken at {statement} {values}")
        return self._inner.rows(statement, *values)


class Killed(BaseException):
    """Nothing of the process runs after it: no way back, and its connections end."""
