"""Real MariaDB servers: what they say, and a replica seeded while its primary writes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from mariadb import MariaDB, certificates

import mysql
from programs import free_port, wait_for
from selvage.mysql import servers
from selvage.mysql.cluster import Primary, find_primary, need

PROJECT = Path(__file__).parents[2]
PROGRAMS = PROJECT / "roles" / "mysql" / "files"
# Debian's Python, as on a node: it has PyMySQL.
PYTHON = "/usr/bin/python3"
# The module without Ansible around it, in a tenth of the time.
LOOK = """
import json, runpy, sys, types
class AnsibleModule:
    def __init__(self, **_):
        self.params = json.loads(sys.argv[1])
    def exit_json(self, **result):
        print(json.dumps(result))
for name in ("ansible", "ansible.module_utils", "ansible.module_utils.basic"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["ansible.module_utils"].__path__ = [sys.argv[3]]
sys.modules["ansible.module_utils.basic"].AnsibleModule = AnsibleModule
runpy.run_path(sys.argv[2], run_name="__main__")
"""
# One row after the other until its input ends; then how many, and the longest that one took.
WRITER = """
import json, select, sys, time, pymysql
connection = pymysql.connect(unix_socket=sys.argv[1], user="root", autocommit=True)
cursor, written, longest = connection.cursor(), 0, 0.0
while not select.select([sys.stdin], [], [], 0)[0]:
    begun = time.monotonic()
    cursor.execute("INSERT INTO shop.writes VALUES (%s)", (written,))
    longest, written = max(longest, time.monotonic() - begun), written + 1
    if written == 1:
        print("writing", flush=True)
print(json.dumps({"written": written, "longest": longest}))
"""


def said(server: MariaDB) -> dict:
    """What `mysql_look` brings."""
    arguments = {
        "socket": str(server.socket),
        "data_directory": str(server.data),
        "user": "root",
        "timeout": 60,
    }
    places = [PROJECT / "library" / "mysql_look.py", PROJECT / "module_utils"]
    ended = subprocess.run(
        [PYTHON, "-c", LOOK, json.dumps(arguments), *places], capture_output=True, check=True
    )
    return json.loads(ended.stdout)["said"]


def look(server: MariaDB) -> servers.Server:
    name = f"db{server.number}"
    return servers.parse(name, server.address, server.port, said(server))


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificates(folder, [9], ca="foreign")
    certificates(folder, [1, 2])
    return folder


@pytest.fixture
def primary(tls):
    """Writable, with the accounts that the role makes before anything replicates."""
    server = MariaDB(1, tls)
    server.install()
    server.start()
    (server.folder / "backup.cnf").write_text("[mariadb-backup]\nuser=backup\npassword=secret\n")
    server.sql(
        """
        SET SESSION sql_log_bin = 0;
        CREATE USER backup@localhost IDENTIFIED BY 'secret';
        GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR ON *.* TO backup@localhost;
        CREATE USER replication@'127.0.0.1' IDENTIFIED BY 'secret' REQUIRE SSL;
        GRANT REPLICATION SLAVE ON *.* TO replication@'127.0.0.1';
        CREATE DATABASE selvage;
        CREATE TABLE selvage.cluster (name VARCHAR(64) NOT NULL PRIMARY KEY);
        INSERT INTO selvage.cluster VALUES ('one');
        SET GLOBAL read_only = 0;
        """
    )
    yield server
    server.close()


@pytest.fixture
def joining(tls):
    """A server without data, marked as the role does before it deletes anything."""
    server = MariaDB(2, tls)
    server.data.mkdir()
    (server.data / "selvage-seeding").touch()
    yield server
    server.close()


def receive(server: MariaDB, tls: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(PROGRAMS / "receive-seed", server.data, server.address, str(port), "127.0.0.1"),
            *(tls / "ca.pem", tls / f"{server.number}.pem", tls / f"{server.number}.key"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def send(
    primary: MariaDB, joining: MariaDB, tls: Path, port: int
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [
            *(PROGRAMS / "send-seed", primary.socket, primary.folder / "backup.cnf"),
            *(joining.address, str(port), tls / "ca.pem", tls / "1.pem", tls / "1.key"),
        ],
        capture_output=True,
    )


def seed(primary: MariaDB, joining: MariaDB, tls: Path) -> str:
    """The position at which the data stand."""
    port = free_port()
    receiver = receive(joining, tls, port)
    sent = send(primary, joining, tls, port)
    position, complaint = receiver.communicate(timeout=120)
    assert (sent.returncode, receiver.returncode) == (0, 0), (sent.stderr, complaint)
    return position.decode().strip()


def replicate(replica: MariaDB, source: MariaDB) -> None:
    replica.sql(
        f"""
        CHANGE MASTER TO MASTER_HOST='{source.address}', MASTER_PORT={source.port},
          MASTER_USER='replication', MASTER_PASSWORD='secret', MASTER_USE_GTID=slave_pos,
          MASTER_SSL=1, MASTER_SSL_CA='{source.tls}/ca.pem', MASTER_SSL_VERIFY_SERVER_CERT=1,
          MASTER_CONNECT_RETRY=1;
        START SLAVE;
        """
    )


def test_a_replica_is_seeded_while_its_primary_writes(primary, joining, tls):
    assert find_primary([look(primary)], "db9") == Primary(look(primary), resting=False)
    assert need(look(joining), look(primary)).action == "seed"
    primary.sql("CREATE DATABASE shop; CREATE TABLE shop.writes (number INT PRIMARY KEY)")
    before = said(primary)
    with subprocess.Popen(
        [PYTHON, "-c", WRITER, primary.socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"writing\n"
        position = seed(primary, joining, tls)
        written, _ = writer.communicate(b"end", timeout=60)
    counted = json.loads(written)
    print(f"{counted['written']} rows, the longest write took {counted['longest']:.3f} s")

    # All is there, but it replicates from nobody yet: a run that ends here begins anew.
    assert said(joining)["seeding"]
    joining.start()
    joining.sql(
        f"SET GLOBAL gtid_binlog_state = '{mysql.mysql_seeded_state(before, position)}';"
        f"SET GLOBAL gtid_slave_pos = '{position}'"
    )
    replicate(joining, primary)
    (joining.data / "selvage-seeded").unlink()
    wait_for(lambda: mysql.mysql_replicates(said(joining)))
    wait_for(
        lambda: joining.sql("SELECT @@gtid_slave_pos") == primary.sql("SELECT @@gtid_binlog_pos")
    )
    rows = joining.sql("SELECT COUNT(*), MAX(number) FROM shop.writes")
    assert rows == [[str(counted["written"]), str(counted["written"] - 1)]]
    replica, source = look(joining), look(primary)
    assert (replica.cluster, replica.read_only) == ("one", True)
    assert need(replica, source).action == "keep"

    # A restarted primary does not write by itself, and is known as the one that did.
    primary.stop()
    primary.start()
    assert primary.sql("SELECT @@read_only") == [["1"]]
    source, replica = look(primary), look(joining)
    assert find_primary([replica, source], "db2") == Primary(source, resting=True)

    # What root writes on a replica stands against it, by name.
    joining.sql("INSERT INTO shop.writes VALUES (-1)")
    number = joining.sql("SELECT @@gtid_binlog_pos")[0][0]
    replica, source = look(joining), look(primary)
    refused = need(replica, source)
    assert refused.action == "refuse"
    assert number in refused.reason


def test_a_former_primary_goes_on_from_its_own_last_transaction(primary, joining, tls):
    primary.sql("CREATE DATABASE shop; CREATE TABLE shop.t (i INT PRIMARY KEY)")
    before = said(primary)
    position = seed(primary, joining, tls)
    joining.start()
    state = mysql.mysql_seeded_state(before, position)
    joining.sql(
        f"SET GLOBAL gtid_binlog_state='{state}'; SET GLOBAL gtid_slave_pos='{position}';"
        "SET GLOBAL read_only = 0; INSERT INTO shop.t VALUES (1)"
    )
    (joining.data / "selvage-seeded").unlink()
    primary.stop()
    primary.start()
    former, new = look(primary), look(joining)
    assert need(former, new).action == "rejoin"
    primary.sql("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos")
    replicate(primary, joining)
    wait_for(lambda: primary.sql("SELECT COUNT(*) FROM shop.t") == [["1"]])
    former, new = look(primary), look(joining)
    assert need(former, new).action == "keep"


def test_who_has_a_foreign_certificate_seeds_nobody(joining, tls):
    port = free_port()
    receiver = receive(joining, tls, port)
    foreign = f"OPENSSL:{joining.address}:{port},retry=60,interval=0.5,verify=0"
    files = f"cert={tls}/9.pem,key={tls}/9.key"
    subprocess.run(
        ["socat", "-u", "STDIN", f"{foreign},{files}"], input=b"data", capture_output=True
    )
    _, complaint = receiver.communicate(timeout=120)
    assert receiver.returncode != 0
    assert b"certificate" in complaint
    assert [path.name for path in joining.data.iterdir()] == ["selvage-seeding"]


@pytest.mark.parametrize("sent", [b"", b"XBSTCK01\x00"])
def test_a_stream_that_ends_early_is_no_seed(joining, tls, sent):
    port = free_port()
    (joining.data / "half").mkdir()
    receiver = receive(joining, tls, port)
    place = f"OPENSSL:{joining.address}:{port},retry=60,interval=0.5,cafile={tls}/ca.pem"
    files = f"cert={tls}/1.pem,key={tls}/1.key"
    subprocess.run(["socat", "-u", "STDIN", f"{place},{files}"], input=sent, check=True)
    _, complaint = receiver.communicate(timeout=120)
    assert receiver.returncode != 0
    assert complaint
    assert look(joining).seeding
    assert not (joining.data / "half").exists()


def test_a_folder_in_a_data_directory_may_be_somebodys_database(joining):
    """A server that was started with an empty disk leaves files alone, and no tables in them."""
    (joining.data / "selvage-seeding").unlink()
    (joining.data / "ibdata1").touch()
    for name in ("lost+found", "#binlog_cache_files"):
        (joining.data / name).mkdir()
    assert look(joining).fresh
    (joining.data / "shop").mkdir()
    assert look(joining).problem is not None


def test_nothing_is_deleted_without_the_mark(joining, tls):
    (joining.data / "selvage-seeding").rename(joining.data / "precious")
    receiver = receive(joining, tls, free_port())
    _, complaint = receiver.communicate(timeout=60)
    assert receiver.returncode != 0
    assert b"selvage-seeding is missing" in complaint
    assert (joining.data / "precious").exists()
