"""The registrar as a process, against a real ZooKeeper and a real instance."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backup import age, client, restore
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError, NoNodeError, NotEmptyError
from kazoo.security import READ_ACL_UNSAFE
from relay import RegistryRelay
from silence import silent_hosts

from programs import Instance, ZooKeeper, free_port, wait_for

MODULES = Path(__file__).parents[2] / "module_utils"
ROOT = "/registrar"
NOTES = f"{ROOT}.notes"
AT_A_PACE = """
import json, sys
from pathlib import Path
from selvage.registrar.daemon import Pace, Registrar
from selvage.registrar.settings import load
from selvage.system import journal
journal.setup()
config = Path(sys.argv[1])
Registrar(load(config), config, Pace(**json.loads(sys.argv[2]))).run()
"""
# Another host, as a clone of this one: all is the same, but that it was started anew.
ANOTHER_BOOT = """
echo 0b7e4b4a-0000-4000-8000-000000000000 > "$0/boot_id"
mount --bind "$0/boot_id" /proc/sys/kernel/random/boot_id
exec "$@"
"""


@pytest.fixture(scope="module")
def zookeeper() -> Iterator[ZooKeeper]:
    """Of their own: tests here stop and freeze it."""
    program = ZooKeeper()
    program.start()
    yield program
    program.close()


@pytest.fixture
def reader(zookeeper: ZooKeeper) -> Iterator[KazooClient]:
    retry = {"max_tries": -1, "max_delay": 0.2}
    client = KazooClient(",".join(zookeeper.hosts), timeout=120, connection_retry=retry)
    client.start(60)
    yield client
    client.add_auth("digest", "fabric:s3 cret")
    for root in (ROOT, NOTES):
        client.delete(root, recursive=True)
    client.stop()
    client.close()


@pytest.fixture
def instance() -> Iterator[Instance]:
    instance = Instance("app1")
    yield instance
    instance.close()


@pytest.fixture
def other() -> Iterator[Instance]:
    other = Instance("other")
    yield other
    other.close()


class Registrar:
    """The daemon as systemd sees it: a process and what it says to the notify socket."""

    def __init__(self, folder: Path, hosts: list[str], port: int) -> None:
        self.folder = folder
        self.config = folder / "registrar.json"
        (folder / "drain").mkdir()
        self.document: dict[str, Any] = {
            "registry": {
                "hosts": hosts,
                "root": ROOT,
                # Only who asks for a short one here will see a session end by itself.
                "session_timeout": "2m",
                "connect_timeout": "2s",
            },
            "node": "app1",
            "address": "127.0.0.1",
            "state_directory": str(folder),
            "instances": [
                {
                    "service": "inventory",
                    "port": port,
                    "drain": "0s",
                    "check": {"interval": "100ms", "timeout": "1m"},
                }
            ],
        }
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.said: list[str] = []  # all that systemd was told, in order
        self.listener = threading.Thread(target=self._listen)
        self.listener.start()
        self.process: subprocess.Popen[bytes] | None = None
        self.apart: list[str] = []  # what the daemon is run by

    def write(self) -> None:
        self.config.write_text(json.dumps(self.document))

    def short_session(self, seconds: int = 2) -> None:
        hosts = self.document["registry"]["hosts"][:1]
        self.document["registry"] |= {"hosts": hosts, "session_timeout": f"{seconds}s"}

    def start(self, **pace: float) -> None:
        """The daemon, at another pace if one is given."""
        self.write()
        program = ["-m", "selvage.registrar", "--config", str(self.config)]
        if pace:
            program = ["-c", AT_A_PACE, str(self.config), json.dumps(pace)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.apart, sys.executable, *program],
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": str(MODULES),
                    "NOTIFY_SOCKET": str(self.folder / "notify"),
                    "WATCHDOG_USEC": "2000000",
                },
            )

    def _listen(self) -> None:
        while said := self.notify.recv(4096):
            self.said.append(said.decode())

    def tell(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def wait(self, timeout: float = 60) -> int:
        assert self.process
        return self.process.wait(timeout)

    def selvage(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "selvage", *arguments, "--config", str(self.config)],
            env={**os.environ, "PYTHONPATH": str(MODULES)},
            check=True,
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def close(self) -> None:
        print(self.log)
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # Who still listened to a closed socket could take what others read from the next one.
        self.notify.shutdown(socket.SHUT_RD)
        self.listener.join()
        self.notify.close()


class Clone(Registrar):
    """A machine that was copied while it ran: it has the files of that moment."""

    original: Path

    def start(self, **pace: float) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(self.original / "sessions.json", self.folder)
        super().start(**pace)


@pytest.fixture
def registrar(
    tmp_path: Path, zookeeper: ZooKeeper, instance: Instance, reader: KazooClient
) -> Iterator[Registrar]:
    """Ended before `reader` deletes what it has registered."""
    registrar = Registrar(tmp_path, zookeeper.hosts, instance.port)
    yield registrar
    registrar.close()


@pytest.fixture
def clone(
    registrar: Registrar, tmp_path: Path, zookeeper: ZooKeeper, instance: Instance
) -> Iterator[Registrar]:
    """Another host with the configuration and the files that the registrar has when it starts."""
    folder = tmp_path / "clone"
    folder.mkdir()
    clone = Clone(folder, zookeeper.hosts, instance.port)
    clone.original = tmp_path
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    clone.apart = [*unshare, "sh", "-ec", ANOTHER_BOOT, str(folder)]
    yield clone
    clone.close()


def children(reader: KazooClient, service: str = "inventory") -> list[str]:
    try:
        return sorted(reader.get_children(f"{ROOT}/{service}"))
    except NoNodeError:
        return []


@contextlib.contextmanager
def always_there(zookeeper: ZooKeeper, path: str) -> Iterator[None]:
    """Fail when a reader that looks all the time ever finds the znode missing."""
    client = KazooClient(zookeeper.host, timeout=600)
    client.start(60)
    seen: list[bool] = []
    end = threading.Event()

    def look() -> None:
        while not end.is_set():
            seen.append(client.exists(path) is not None)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        wait_for(lambda: seen)
        yield
        before = len(seen)
        wait_for(lambda: len(seen) > before + 50)
    finally:
        end.set()
        thread.join()
        client.stop()
        client.close()
    assert all(seen)


def started(registrar: Registrar, reader: KazooClient, instance: Instance, **pace: float) -> str:
    """Start the daemon and wait for the registration; its path."""
    registrar.start(**pace)
    path = f"{ROOT}/inventory/app1_{instance.port}"
    wait_for(lambda: reader.exists(path))
    return path


def test_a_healthy_instance_is_registered_with_nerves_bytes(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.document["instances"][0] |= {"weight": 10, "labels": {"zone": "a"}}
    path = started(registrar, reader, instance)
    data, stat = reader.get(path)
    assert (
        data
        == (
            f'{{"host":"127.0.0.1","port":{instance.port},"name":"app1","weight":10,'
            '"labels":{"zone":"a"}}'
        ).encode()
    )
    assert stat.ephemeralOwner
    assert not reader.get(f"{ROOT}/inventory")[1].ephemeralOwner
    wait_for(lambda: "READY=1" in registrar.said)
    wait_for(lambda: "STATUS=1 of 1 instances registered; the registry is there" in registrar.said)


def test_a_failing_check_deregisters_at_once_and_a_passing_one_registers(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    # What is not told by an event is not seen here.
    path = started(registrar, reader, instance, turn_s=3_600, verify_s=3_600)
    instance.healthy = False
    wait_for(lambda: not reader.exists(path))
    wait_for(lambda: "; not healthy: inventory (HTTP 503)" in "".join(registrar.said))
    instance.healthy = True
    wait_for(lambda: reader.exists(path))


def test_why_an_instance_is_not_registered_stands_beside_the_registrations(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    path = started(registrar, reader, instance)
    note = f"{NOTES}/inventory/app1_{instance.port}"
    instance.healthy = False
    wait_for(lambda: reader.exists(note))
    data, stat = reader.get(note)
    assert data == b"HTTP 503"
    assert stat.ephemeralOwner
    assert children(reader) == []

    # The next process has it for its own.
    registrar.tell(signal.SIGKILL)
    registrar.wait()
    registrar.start()
    wait_for(lambda: reader.exists(note).ephemeralOwner != stat.ephemeralOwner)
    instance.healthy = True
    wait_for(lambda: reader.exists(path))
    wait_for(lambda: not reader.exists(note))

    registrar.selvage("drain", "inventory", "--reason", "new disk")
    wait_for(lambda: reader.exists(note))
    assert reader.get(note)[0] == b"drained: new disk"
    registrar.tell(signal.SIGTERM)
    registrar.wait()
    wait_for(lambda: not reader.exists(note))


def test_notes_that_cannot_be_written_harm_nothing(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    reader.create(NOTES, acl=READ_ACL_UNSAFE)
    path = started(registrar, reader, instance)
    instance.healthy = False
    wait_for(lambda: not reader.exists(path))
    wait_for(lambda: "cannot say why instances are not registered" in registrar.log)
    instance.healthy = True
    wait_for(lambda: reader.exists(path))


def test_rise_and_fall_are_counted(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.document["instances"][0]["check"] |= {"rise": 5, "fall": 10}
    path = started(registrar, reader, instance)
    assert instance.checks >= 5
    before = instance.checks
    instance.healthy = False
    wait_for(lambda: not reader.exists(path))
    assert instance.checks - before >= 9  # One may have been under way.


def test_killed_and_not_restarted_it_is_gone_after_the_session(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.short_session()
    path = started(registrar, reader, instance)
    registrar.tell(signal.SIGKILL)
    registrar.wait()
    wait_for(lambda: not reader.exists(path))


def test_killed_and_restarted_it_is_taken_over_without_a_gap(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    # Too many successes to wait for: what the former session registered counts until then.
    path = started(registrar, reader, instance)
    registrar.document["instances"][0]["check"]["rise"] = 100
    former = reader.exists(path).ephemeralOwner
    with always_there(zookeeper, path):
        registrar.tell(signal.SIGKILL)
        registrar.wait()
        registrar.start()
        wait_for(lambda: reader.exists(path).ephemeralOwner != former)
    assert children(reader) == [f"app1_{instance.port}"]


def test_a_former_registration_of_a_dead_instance_goes(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    path = started(registrar, reader, instance)
    registrar.tell(signal.SIGKILL)
    registrar.wait()
    instance.healthy = False
    registrar.start()
    wait_for(lambda: not reader.exists(path))


def test_sigterm_deregisters_first_and_then_waits_for_the_clients(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.document["instances"][0]["drain"] = "2s"
    path = started(registrar, reader, instance)
    begin = time.monotonic()
    registrar.tell(signal.SIGTERM)
    wait_for(lambda: not reader.exists(path))
    assert registrar.wait() == 0
    assert time.monotonic() - begin >= 2
    wait_for(lambda: "STOPPING=1" in registrar.said)
    wait_for(lambda: "EXTEND_TIMEOUT_USEC=30000000" in registrar.said)


def test_a_second_sigterm_ends_the_waiting(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.document["instances"][0]["drain"] = "1h"
    path = started(registrar, reader, instance)
    registrar.tell(signal.SIGTERM)
    wait_for(lambda: not reader.exists(path))
    wait_for(lambda: "waiting for the clients to leave" in registrar.log)
    assert registrar.process
    assert registrar.process.poll() is None
    registrar.tell(signal.SIGTERM)
    assert registrar.wait() == 0


def test_only_what_was_registered_is_waited_for(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.document["instances"].append(
        registrar.document["instances"][0] | {"port": free_port(), "drain": "1h"}
    )
    started(registrar, reader, instance)
    assert children(reader) == [f"app1_{instance.port}"]
    registrar.tell(signal.SIGTERM)
    assert registrar.wait() == 0


def test_sighup_takes_new_configuration_without_leaving_the_registry(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    path = started(registrar, reader, instance)
    wait_for(lambda: "READY=1" in registrar.said)
    registrar.said.clear()
    registrar.document["instances"][0] |= {"weight": 7}
    registrar.write()
    with always_there(zookeeper, path):
        registrar.tell(signal.SIGHUP)
        wait_for(lambda: b'"weight":7' in reader.get(path)[0])
        wait_for(lambda: "READY=1" in registrar.said)
    assert registrar.process
    assert registrar.process.poll() is None
    said = [line for line in registrar.said if line.startswith(("RELOADING", "READY"))]
    assert said[0].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said[1:] == ["READY=1"]
    registrar.tell(signal.SIGTERM)
    assert registrar.wait() == 0


def test_sighup_takes_new_code(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    path = started(registrar, reader, instance)
    former = reader.exists(path).ephemeralOwner
    registrar.tell(signal.SIGHUP)
    wait_for(lambda: reader.exists(path).ephemeralOwner != former)


def test_many_sighups_are_survived(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    path = started(registrar, reader, instance)
    with always_there(zookeeper, path):
        for _ in range(40):
            registrar.tell(signal.SIGHUP)
            time.sleep(0.05)
        registrar.said.clear()
        registrar.tell(signal.SIGHUP)
        registered = "STATUS=1 of 1 instances registered; the registry is there"
        wait_for(lambda: registered in registrar.said)
    registrar.tell(signal.SIGTERM)
    assert registrar.wait() == 0
    assert not reader.exists(path)


def test_sighup_deregisters_what_the_new_file_no_longer_has(
    registrar: Registrar,
    reader: KazooClient,
    instance: Instance,
    other: Instance,
    zookeeper: ZooKeeper,
) -> None:
    registrar.document["instances"].append(
        registrar.document["instances"][0] | {"service": "billing", "port": other.port}
    )
    path = started(registrar, reader, instance)
    wait_for(lambda: children(reader, "billing"))
    del registrar.document["instances"][1]
    registrar.write()
    with always_there(zookeeper, path):
        registrar.tell(signal.SIGHUP)
        wait_for(lambda: not children(reader, "billing"))
        wait_for(lambda: registrar.said.count("READY=1") == 2)


def test_an_invalid_file_is_refused_and_the_former_one_goes_on(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    path = started(registrar, reader, instance)
    wait_for(lambda: "READY=1" in registrar.said)
    registrar.said.clear()
    registrar.config.write_text("{")
    owner = reader.exists(path).ephemeralOwner
    registrar.tell(signal.SIGHUP)
    wait_for(lambda: "READY=1" in registrar.said)
    assert "the former configuration goes on" in registrar.log
    assert reader.exists(path).ephemeralOwner == owner
    instance.healthy = False
    wait_for(lambda: not reader.exists(path))


def test_a_check_under_way_is_not_left_behind_by_sighup(
    registrar: Registrar, reader: KazooClient, instance: Instance, tmp_path: Path
) -> None:
    script = f"echo $$ >> {tmp_path}/pids; sleep 0.7"
    registrar.document["instances"][0]["check"] = {
        "type": "exec",
        "command": ["/bin/sh", "-c", script],
        "interval": "100ms",
        "timeout": "1m",
    }
    path = started(registrar, reader, instance)
    former = reader.exists(path).ephemeralOwner
    before = (tmp_path / "pids").read_text().split()
    registrar.tell(signal.SIGHUP)
    wait_for(lambda: reader.exists(path).ephemeralOwner != former)
    # A process that nobody waits for would stay its child, as a zombie.
    assert registrar.process
    assert registrar.process.pid not in map(parent, before)
    registrar.tell(signal.SIGTERM)
    assert registrar.wait() == 0


def parent(pid: str) -> int | None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def test_what_someone_else_deletes_or_changes_is_put_back(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    path = started(registrar, reader, instance, verify_s=3_600)
    data = reader.get(path)[0]
    reader.delete(path)
    wait_for(lambda: reader.exists(path))
    reader.set(path, b"{}")
    wait_for(lambda: reader.get(path)[0] == data)
    # It may be back before its parents are gone.
    with contextlib.suppress(NotEmptyError):
        reader.delete(ROOT, recursive=True)
    wait_for(lambda: reader.exists(path))


def test_a_lost_session_registers_again(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.short_session()
    path = started(registrar, reader, instance)
    registrar.tell(signal.SIGSTOP)
    wait_for(lambda: not reader.exists(path))
    registrar.tell(signal.SIGCONT)
    wait_for(lambda: reader.exists(path))


def test_a_lost_connection_is_not_a_lost_session(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    path = started(registrar, reader, instance)
    before = reader.exists(path)
    zookeeper.stop()
    wait_for(lambda: "the registry is away" in registrar.log)
    zookeeper.start()
    wait_for(lambda: registrar.log.count("the registry is there") == 2)
    assert reader.exists(path).czxid == before.czxid
    reader.delete(path)
    wait_for(lambda: reader.exists(path))
    assert reader.exists(path).ephemeralOwner == before.ephemeralOwner


def test_what_changes_while_the_registry_is_away_is_done_when_it_returns(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    path = started(registrar, reader, instance)
    zookeeper.stop()
    wait_for(lambda: "the registry is away" in registrar.log)
    instance.healthy = False
    wait_for(lambda: "not healthy" in registrar.log)
    zookeeper.start()
    wait_for(lambda: not reader.retry(reader.exists, path))


def test_without_a_registry_it_starts_gets_ready_and_registers_later(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    zookeeper.stop()
    try:
        registrar.start()
        wait_for(lambda: "READY=1" in registrar.said)
        wait_for(lambda: "WATCHDOG=1" in registrar.said)
    finally:
        zookeeper.start()
    wait_for(lambda: children(reader))


def test_sigterm_is_acted_on_while_no_host_answers(registrar: Registrar) -> None:
    with silent_hosts(3) as hosts:
        registrar.document["registry"] |= {"hosts": hosts, "session_timeout": "10m"}
        registrar.start()
        wait_for(lambda: "READY=1" in registrar.said)
        registrar.tell(signal.SIGTERM)
        assert registrar.wait() == 0


def test_a_registry_that_hangs_does_not_stop_the_loop(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    registrar.short_session()
    started(registrar, reader, instance)
    zookeeper.send(signal.SIGSTOP)
    try:
        instance.healthy = False
        wait_for(lambda: "not healthy" in registrar.log)
        wait_for(lambda: "the registry is away" in registrar.log)
        registrar.said.clear()
        wait_for(lambda: registrar.said.count("WATCHDOG=1") > 2)
        registrar.tell(signal.SIGTERM)
        assert registrar.wait() == 0
    finally:
        zookeeper.send(signal.SIGCONT)


def test_it_comes_back_to_a_registry_that_was_restored(
    registrar: Registrar, own_zookeeper: ZooKeeper
) -> None:
    registrar.document["registry"] |= {"hosts": [own_zookeeper.host], "session_timeout": "1s"}
    age(own_zookeeper)
    registrar.start()
    with client(own_zookeeper) as before:
        wait_for(lambda: children(before))
    restore(own_zookeeper)
    with client(own_zookeeper) as after:
        wait_for(lambda: children(after))


def test_a_drained_service_is_out_until_it_is_let_back_in(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    path = started(registrar, reader, instance)
    registrar.selvage("drain", "inventory", "--reason", "new disk")
    wait_for(lambda: not reader.exists(path))
    wait_for(lambda: 'drained service=inventory reason="new disk"' in registrar.log)

    registrar.tell(signal.SIGTERM)
    registrar.wait()
    registrar.start()
    wait_for(lambda: registrar.log.count("<6>healthy service") == 2)
    time.sleep(0.5)
    assert not reader.exists(path)

    registrar.selvage("undrain", "inventory")
    wait_for(lambda: reader.exists(path))


def test_credentials_own_the_registration_and_everyone_reads_it(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    registrar.document["registry"] |= {"username": "fabric", "password": "s3 cret"}
    path = started(registrar, reader, instance)
    acls = reader.get_acls(path)[0]
    assert {(acl.perms, acl.id.scheme) for acl in acls} == {(31, "digest"), (1, "world")}
    with pytest.raises(NoAuthError):
        reader.set(path, b"{}")

    # With the same credentials a former session's znode is taken over.
    former = reader.exists(path).ephemeralOwner
    registrar.tell(signal.SIGKILL)
    registrar.wait()
    registrar.start()
    wait_for(lambda: reader.exists(path).ephemeralOwner != former)
    assert "s3 cret" not in registrar.log
    registrar.tell(signal.SIGTERM)
    assert registrar.wait() == 0


def test_one_znode_that_cannot_be_written_does_not_keep_back_the_others(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.document["instances"].insert(
        0, registrar.document["instances"][0] | {"service": "blocked"}
    )
    reader.ensure_path(ROOT)
    reader.create(f"{ROOT}/blocked", acl=READ_ACL_UNSAFE)
    started(registrar, reader, instance)
    wait_for(lambda: "not done, trying again service=blocked" in registrar.log)


def test_a_clone_does_not_take_what_another_host_has(
    registrar: Registrar, clone: Registrar, reader: KazooClient, instance: Instance,
    zookeeper: ZooKeeper,
) -> None:  # fmt: skip
    path = started(registrar, reader, instance)
    before = reader.exists(path)
    with always_there(zookeeper, path):
        clone.start(verify_s=0.1)
        wait_for(lambda: "waiting for the end of a session that is not ours" in clone.log)
        wait_for(lambda: "READY=1" in clone.said)
        wait_for(lambda: "healthy service=inventory" in clone.log)
        # It leaves with nothing, and takes nothing with it.
        clone.tell(signal.SIGTERM)
        assert clone.wait() == 0
    assert reader.exists(path).czxid == before.czxid
    assert "deregistered" not in clone.log
    assert (
        "STATUS=0 of 1 instances registered; the registry is there;"
        f" somebody else has: app1_{instance.port}"
    ) in clone.said
    assert registrar.log.count("registered service=") == 1


def test_a_clone_without_a_healthy_instance_deregisters_nobody(
    registrar: Registrar, clone: Registrar, reader: KazooClient, instance: Instance,
    zookeeper: ZooKeeper,
) -> None:  # fmt: skip
    path = started(registrar, reader, instance)
    clone.document["instances"][0]["check"] = {
        "type": "exec", "command": ["/bin/false"], "interval": "100ms", "timeout": "1m",
    }  # fmt: skip
    with always_there(zookeeper, path):
        clone.start(verify_s=0.1)
        wait_for(lambda: "not healthy service=inventory" in clone.log)
        wait_for(lambda: "waiting for the end of a session that is not ours" in clone.log)
        clone.tell(signal.SIGTERM)
        assert clone.wait() == 0
    assert registrar.log.count("registered service=") == 1


def test_a_clash_that_lasts_is_told_with_what_to_do_and_then_less_often(
    registrar: Registrar, clone: Registrar, reader: KazooClient, instance: Instance
) -> None:
    clone.document["registry"]["session_timeout"] = "1s"
    path = started(registrar, reader, instance)
    former = owner(reader, path)
    clone.start(verify_s=0.05)
    wait_for(lambda: "another host registers under this name" in clone.log)
    (line,) = [line for line in clone.log.splitlines() if "another host registers" in line]
    assert line.startswith(
        "<3>another host registers under this name: give each its own `node`"
        f" service=inventory child=app1_{instance.port} session={former:#x} data="
    )
    assert f'\\"port\\":{instance.port}' in line
    # Whoever waits has it as soon as nobody else does.
    registrar.tell(signal.SIGTERM)
    assert registrar.wait() == 0
    wait_for(lambda: owner(reader, path) not in (None, former))
    wait_for(lambda: "nobody else has this name any more" in clone.log)
    assert clone.log.count("another host registers") == 1


def test_what_was_registered_by_hand_stays(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.document["registry"]["session_timeout"] = "1s"
    path = f"{ROOT}/inventory/app1_{instance.port}"
    reader.create(path, b"mine", makepath=True)
    registrar.start(verify_s=0.05)
    wait_for(lambda: "this name was registered by hand: delete the znode" in registrar.log)
    assert reader.get(path)[0] == b"mine"
    instance.healthy = False
    wait_for(lambda: "not healthy" in registrar.log)
    registrar.tell(signal.SIGTERM)
    assert registrar.wait() == 0
    assert reader.get(path)[0] == b"mine"


def owner(reader: KazooClient, path: str) -> int | None:
    """The session that the znode belongs to; None when it is not there."""
    stat = reader.exists(path)
    return stat.ephemeralOwner if stat else None


def content(reader: KazooClient, path: str) -> bytes:
    """What the znode holds; nothing when it is not there."""
    with contextlib.suppress(NoNodeError):
        return bytes(reader.get(path)[0])
    return b""


def test_after_a_start_of_the_computer_the_former_session_is_waited_for(
    registrar: Registrar, clone: Registrar, reader: KazooClient, instance: Instance
) -> None:
    """The same host, as far as it knows; but so would a clone say."""
    # The next process has to be there before the former one's session ends.
    registrar.short_session(10)
    path = started(registrar, reader, instance)
    former = reader.exists(path).ephemeralOwner
    registrar.tell(signal.SIGKILL)
    registrar.wait()
    clone.start()
    wait_for(lambda: owner(reader, path) not in (None, former))
    # The registry knows before the registrar has heard of it.
    wait_for(lambda: "<6>registered service=inventory" in clone.log)
    assert "taken over" not in clone.log


def test_a_registration_of_a_registrar_that_kept_no_notes_is_waited_for(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    # The next process has to be there before the former one's session ends.
    registrar.short_session(10)
    path = started(registrar, reader, instance)
    former = reader.exists(path).ephemeralOwner
    registrar.tell(signal.SIGKILL)
    registrar.wait()
    (registrar.folder / "sessions.json").unlink()
    registrar.start()
    wait_for(lambda: owner(reader, path) not in (None, former))
    assert "waiting for the end of a session that is not ours" in registrar.log
    assert "taken over" not in registrar.log


def test_another_address_leaves_the_former_one(
    registrar: Registrar, reader: KazooClient, instance: Instance
) -> None:
    registrar.document["instances"][0]["check"] = {"type": "exec", "command": ["/bin/true"]}
    path = started(registrar, reader, instance)
    registrar.document["address"] = "127.0.0.2"
    registrar.write()
    registrar.tell(signal.SIGHUP)
    # Between the two addresses it is not there, and an answer may come from either side of that.
    wait_for(lambda: b'"host":"127.0.0.2"' in content(reader, path))
    wait_for(lambda: "<6>deregistered service=inventory" in registrar.log)


def test_all_znodes_are_worked_on_at_the_same_time(
    registrar: Registrar, reader: KazooClient, instance: Instance, zookeeper: ZooKeeper
) -> None:
    """How many there are must not add up: the watchdog counts meanwhile."""
    relay = RegistryRelay(zookeeper.port)
    template = registrar.document["instances"][0]
    registrar.document["registry"]["hosts"] = [relay.host]
    registrar.document["instances"] = [template | {"service": f"s{n}"} for n in range(20)]
    try:
        registrar.start(verify_s=0.5)
        wait_for(lambda: sum(len(children(reader, f"s{n}")) for n in range(20)) == 20)
        relay.hold_answers()
        before = relay.requests["get"]
        wait_for(lambda: relay.requests["get"] >= before + 20)
        relay.resume()
        registrar.said.clear()
        wait_for(lambda: registrar.said.count("WATCHDOG=1") > 2)
    finally:
        relay.close()
