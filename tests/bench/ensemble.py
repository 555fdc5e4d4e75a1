"""Three ZooKeeper servers on loopback, with the settings of production (role `zookeeper`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kazoo.client import KazooClient

from programs import ZooKeeper, wait_for

from .ports import free_ports

_SIZE = 3
# ZooKeeper takes packets of 1 MiB.
_AT_ONCE = 500
_COLLECTIONS = "collections.log"
# More than a JVM needs until it has compiled what it runs all day.
_WARMING_WRITES = 2000


@dataclass(frozen=True)
class Collections:
    """What a member's garbage collections took, and left in the heap."""

    heap_mib: int
    longest_ms: float
    sum_s: float


class Ensemble:
    """Its members keep their data in folders of their own below /tmp, on a real disk."""

    def __init__(self, heap: str = "512m", watch_manager: str = "WatchManager") -> None:
        self._java_options = (
            *(f"-Xms{heap}", f"-Xmx{heap}", "-XX:+ExitOnOutOfMemoryError"),
            f"-Dzookeeper.watchManagerName=org.apache.zookeeper.server.watch.{watch_manager}",
            f"-Xlog:gc:{_COLLECTIONS}",
        )
        ports = [free_ports(3) for _ in range(_SIZE)]
        self.members = [ZooKeeper(client) for _, _, client in ports]
        servers = "".join(
            f"server.{number}=127.0.0.1:{quorum}:{election};127.0.0.1:{client}\n"
            for number, (quorum, election, client) in enumerate(ports, 1)
        )
        for number, member in enumerate(self.members, 1):
            (member.folder / "zoo.cfg").write_text(
                "tickTime=2000\ninitLimit=5\nsyncLimit=2\nmaxClientCnxns=0\n"
                f"dataDir={member.folder}/data\ndataLogDir={member.folder}/transactions\n"
                f"admin.enableServer=false\n4lw.commands.whitelist=*\n{servers}"
            )
            (member.folder / "data").mkdir()
            (member.folder / "data" / "myid").write_text(f"{number}\n")

    @property
    def hosts(self) -> list[str]:
        """`host:port` of each member."""
        return [member.host for member in self.members]

    def start(self) -> None:
        """Start all members; returns when each serves, and has compiled what it runs all day."""
        for member in self.members:
            member.launch(*self._java_options)
        for member in self.members:
            wait_for(lambda member=member: "Mode:" in member.command("srvr"), 60)
        registry = Registry(self, "/warm")
        registry.clear()
        for number in range(_WARMING_WRITES):
            registry.client.create(f"{registry.root}/{number}", b"x" * 100)
            registry.client.get(f"{registry.root}/{number}")
        registry.clear()
        registry.close()

    def restart(self, *members: ZooKeeper) -> None:
        """Kill these members and start them again; returns when each serves."""
        for member in members:
            member.stop()
        for member in members:
            member.launch(*self._java_options)
        for member in members:
            wait_for(lambda member=member: "Mode:" in member.command("srvr"), 60)

    def received(self, ports: set[int]) -> int:
        """How many packets the members have got over the connections from these local ports."""
        connections = "".join(member.command("cons") for member in self.members)
        found = re.findall(r"/127\.0\.0\.1:([0-9]+)\[.*?recved=([0-9]+)", connections)
        return sum(int(count) for port, count in found if int(port) in ports)

    @staticmethod
    def collections(member: ZooKeeper) -> Collections:
        """Of one member since it was started; the heap is that after the last one."""
        log = (member.folder / _COLLECTIONS).read_text()
        found = re.findall(r"Pause .*->([0-9]+)M\([0-9]+M\) ([0-9.]+)ms", log)
        pauses_ms = [float(pause_ms) for _, pause_ms in found]
        return Collections(int(found[-1][0]), max(pauses_ms), round(sum(pauses_ms) / 1000, 1))

    def close(self) -> None:
        for member in self.members:
            member.close()


class Registry:
    """One root in the ensemble, as those who register see it."""

    def __init__(self, ensemble: Ensemble, root: str) -> None:
        self.root = root
        self.hosts = ensemble.hosts
        self.client = KazooClient(",".join(ensemble.hosts), timeout=20)
        self.client.start()

    def change(
        self, create: dict[str, bytes] | None = None, delete: tuple[str, ...] | list[str] = ()
    ) -> None:
        """Create and delete znodes by path, in as few transactions as possible."""
        steps = [("create", path, data) for path, data in (create or {}).items()]
        steps += [("delete", path, None) for path in delete]
        for start in range(0, len(steps), _AT_ONCE):
            transaction = self.client.transaction()
            for kind, path, data in steps[start : start + _AT_ONCE]:
                if kind == "create":
                    transaction.create(path, data)
                else:
                    transaction.delete(path)
            for answer in transaction.commit():
                if isinstance(answer, Exception):
                    raise answer

    def clear(self) -> None:
        """Delete everything below the root."""
        self.client.ensure_path(self.root)
        services = [f"{self.root}/{name}" for name in self.client.get_children(self.root)]
        instances = [
            f"{service}/{child}"
            for service in services
            for child in self.client.get_children(service)
        ]
        self.change(delete=[*instances, *services])

    def close(self) -> None:
        self.client.stop()
        self.client.close()
