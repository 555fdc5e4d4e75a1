from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon
from ensemble import Ensemble
from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError
from mariadb import MariaDB
from mysql_members import Cluster
from mysqld import ROOT as MYSQL
from mysqld import MySQL

from application import Application
from nginx_server import Nginx
from programs import HAProxy, Instance, ZooKeeper, free_port, get
from selvage.reconciler import settings
from selvage.reconciler.passes import Limits, Reconciler
from selvage.reconciler.reconcile import Result, reconcile

# Only Debian sid has it: `make mysql-sid`.
ONLY_THERE = ["test_mysql_clone.py", "test_mysql_roles.py", "test_mysql_versions.py"]
collect_ignore = [] if MYSQL else ONLY_THERE
ROOTS = itertools.count(1)
# On a busy machine instances answer late.
PATIENT = Limits(probes_s=60.0, probe_s=60.0, names_s=60.0)


@dataclass
class Fabric:
    """One node: a root of its own in ZooKeeper, a HAProxy, and the reconciler's configuration."""

    zookeeper: ZooKeeper | Ensemble
    client: KazooClient
    haproxy: HAProxy
    root: str
    document: dict[str, Any]
    instances: list[Instance] = field(default_factory=list)

    @property
    def services_file(self) -> str:
        return self.haproxy.services_config.read_text()

    def settings(self) -> settings.Settings:
        return settings.parse(self.document)

    def reconcile(self, *, dry_run: bool = False) -> Result:
        return reconcile(self.settings(), dry_run=dry_run, limits=PATIENT)

    def reconciler(self, limits: Limits = PATIENT) -> Reconciler:
        return Reconciler(self.settings(), limits)

    def service(self, name: str = "inventory", **options: object) -> int:
        """Put a service into the catalogue; its port."""
        port = free_port()
        check = {"interval": "100ms", "timeout": "1m"}
        entry = {"name": name, "port": port, "check": check, **options}
        self.document["services"].append(entry)
        return port

    def instance(self, name: str) -> Instance:
        self.instances.append(Instance(name))
        return self.instances[-1]

    def register(self, child: str, data: bytes = b"", service: str = "inventory") -> None:
        self.client.retry(self._create, f"{self.root}/{service}/{child}", data)

    def deregister(self, child: str, service: str = "inventory") -> None:
        self.client.retry(self._delete, f"{self.root}/{service}/{child}")

    # An attempt whose answer was lost may have been heard.

    def _create(self, path: str, data: bytes) -> None:
        with suppress(NodeExistsError):
            self.client.create(path, data, makepath=True)

    def _delete(self, path: str) -> None:
        with suppress(NoNodeError):
            self.client.delete(path)

    def answers(self, port: int, requests: int = 12) -> set[str]:
        """Who answers."""
        return {get(port) for _ in range(requests)}


@pytest.fixture(scope="session")
def zookeeper() -> Iterator[ZooKeeper]:
    """Shared: who stops it starts it again."""
    program = ZooKeeper()
    program.start()
    yield program
    program.close()


@pytest.fixture
def own_zookeeper() -> Iterator[ZooKeeper]:
    """Nobody else's, so that a test may do to it what others would not survive."""
    program = ZooKeeper()
    program.start()
    yield program
    program.close()


@pytest.fixture
def haproxy() -> Iterator[HAProxy]:
    program = HAProxy()
    program.start()
    yield program
    program.close()


@pytest.fixture(scope="session")
def shared_ensemble() -> Iterator[Ensemble]:
    program = Ensemble()
    program.heal()
    yield program
    program.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Shared: who leaves it has one primary, and the others replicate all of it."""
    cluster = Cluster(tmp_path_factory.mktemp("tls"), MySQL if MYSQL else MariaDB)
    yield cluster
    cluster.close()


@pytest.fixture
def ensemble(shared_ensemble: Ensemble) -> Iterator[Ensemble]:
    yield shared_ensemble
    shared_ensemble.heal()


@contextmanager
def fabric_of(
    zookeeper: ZooKeeper | Ensemble, haproxy: HAProxy, folder: Path, session_s: int = 60
) -> Iterator[Fabric]:
    """Nobody's session ends by itself in less than `session_s`."""
    retry = {"max_tries": -1, "max_delay": 0.5}
    client = KazooClient(
        ",".join(zookeeper.hosts), timeout=session_s, connection_retry=retry, command_retry=retry
    )
    client.start(60)
    root = f"/test{next(ROOTS)}"
    document = {
        "registry": {
            "hosts": [zookeeper.host] if isinstance(zookeeper, ZooKeeper) else zookeeper.hosts,
            "root": root,
            "connect_timeout": f"{session_s}s",
            "session_timeout": f"{session_s}s",
        },
        "haproxy": {
            "binary": haproxy.binary,
            "config": str(haproxy.folder / "haproxy.cfg"),
            "services_config": str(haproxy.services_config),
            "admin_socket": str(haproxy.admin_socket),
            "master_socket": str(haproxy.master_socket),
            "timeout": "1m",
        },
        "state_directory": str(folder),
        "services": [],
    }
    fabric = Fabric(zookeeper, client, haproxy, root, document)
    yield fabric
    for instance in fabric.instances:
        instance.close()
    client.stop()
    client.close()


@pytest.fixture
def fabric(zookeeper: ZooKeeper, haproxy: HAProxy, tmp_path: Path) -> Iterator[Fabric]:
    with fabric_of(zookeeper, haproxy, tmp_path) as fabric:
        yield fabric


@pytest.fixture
def ensemble_fabric(ensemble: Ensemble, haproxy: HAProxy, tmp_path: Path) -> Iterator[Fabric]:
    with fabric_of(ensemble, haproxy, tmp_path, session_s=4) as fabric:
        yield fabric


@pytest.fixture
def daemon(fabric: Fabric, tmp_path: Path) -> Iterator[Daemon]:
    fabric.document["resync_interval"] = "1h"
    daemon = Daemon(fabric, tmp_path)
    yield daemon
    daemon.close()


@pytest.fixture
def application() -> Iterator[Application]:
    program = Application()
    yield program
    program.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Nginx]]:
    """Start an Nginx with these sites, and with these files in its folder."""
    programs = []

    def start(*sites, files=None, **variables):
        programs.append(Nginx([*sites], **variables))
        for name, text in (files or {}).items():
            programs[-1].write(name, text)
        programs[-1].start()
        return programs[-1]

    yield start
    for program in programs:
        program.close()
