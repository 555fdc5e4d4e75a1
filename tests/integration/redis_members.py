"""Redis and Sentinel on loopback, as role redis runs them: TLS, users, and each its own state."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from programs import ROOT, Program, free_port, wait_for
from selvage.redis import members, topology, users
from selvage.redis.client import Access, Client
from selvage.redis.topology import Member, Ports, Primary

ROLE = Path(__file__).parents[2] / "roles" / "redis"
VARS: dict[str, Any] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
PASSWORDS = {
    "redis_admin_passwords": "admin-of-these-tests",
    "redis_replication_passwords": "replication-of-these-tests",
    "redis_sentinel_passwords": "sentinel-of-these-tests",
}
# How soon a Sentinel takes a silent primary for down: on a busy machine it may be slow, not dead.
DOWN_AFTER_MS = 3_000


def role_users(name: str) -> list[users.User]:
    """The users that the role makes, with the tests' passwords."""
    given = []
    for entry in VARS[name]:
        entry = dict(entry)
        if variable := entry.pop("passwords", "").strip("{} "):
            entry["hashes"] = [users.hashed(PASSWORDS[variable])]
        given.append(entry)
    return users.parse(given, name)


class Authority:
    """A CA, and certificates for addresses."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="selvage-ca-"))
        self.ca = self.folder / "ca.pem"
        self._openssl(
            *("req", "-x509", *self._key("ca"), "-out", "ca.pem", "-days", "2", "-subj", "/CN=CA"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def certify(self, address: str) -> tuple[Path, Path]:
        """A new key and certificate, in the place of former ones."""
        self._openssl("req", *self._key(address), "-out", "request", "-subj", f"/CN={address}")
        (self.folder / "extensions").write_text(
            f"subjectAltName=IP:{address}\nauthorityKeyIdentifier=keyid\n"
        )
        self._openssl(
            *("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"),
            *("-CAcreateserial", "-extfile", "extensions", "-out", f"{address}.pem"),
        )
        return self.folder / f"{address}.pem", self.folder / f"{address}.key"

    def close(self) -> None:
        shutil.rmtree(self.folder)

    def _key(self, name: str) -> tuple[str, ...]:
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        return (*kind, "-keyout", f"{name}.key")

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)


class Server(Program):
    """One of both programs, which Debian makes from one file: its name says which it is."""

    def __init__(self, kind: str, address: str, port: int, authority: Authority) -> None:
        super().__init__(kind)
        self.address, self.port = address, port
        self.binary = self.folder / kind
        self.binary.symlink_to("/usr/bin/redis-check-rdb")
        self.inside = (self.folder, authority.folder)
        self.state = self.folder / "state.conf"
        self.managed = self.folder / "managed.conf"
        certificate, key = authority.certify(address)
        self.settings = {
            "bind": address,
            "protected-mode": "no",
            "port": "0",
            "tls-port": str(port),
            "tls-replication": "yes",
            "tls-auth-clients": "no",
            "tls-cert-file": str(certificate),
            "tls-key-file": str(key),
            "tls-ca-cert-file": str(authority.ca),
            "dir": str(self.folder),
            "aclfile": str(self.folder / "users.acl"),
        }
        self.more: list[str] = []

    def write(self, accounts: list[users.User]) -> None:
        lines = [f'{name} "{value}"' for name, value in self.settings.items()] + self.more
        self.managed.write_text("".join(f"{line}\n" for line in lines))
        (self.folder / "users.acl").write_text(users.text(accounts))

    def start(self) -> None:
        command = (self.binary, self.state, "--include", self.managed)
        if not ROOT:
            self.run(*command)
            return
        # In the root of another release, which has no locales; our own folders at their places.
        mounts = "".join(f"mount --bind {path} {ROOT}{path} && " for path in self.inside)
        for path in self.inside:
            Path(f"{ROOT}{path}").mkdir(parents=True, exist_ok=True)
        enter = f'{mounts}exec env LC_ALL=C chroot {ROOT} "$@"'
        self.run("unshare", "-m", "sh", "-c", enter, "sh", *command)

    def close(self) -> None:
        super().close()
        if (inside := Path(f"{ROOT}{self.folder}")).exists():
            inside.rmdir()


class Cluster:
    """Members on addresses of their own, with the same ports on each."""

    def __init__(self, count: int = 3) -> None:
        self.authority = Authority()
        self.ports = Ports(free_port(), free_port())
        self.access = Access(
            "selvage", (PASSWORDS["redis_admin_passwords"],), self.authority.ca, 20.0
        )
        self.members: list[Member] = []
        self.servers: dict[str, Server] = {}
        self.sentinels: dict[str, Server] = {}
        for _ in range(count):
            self.add()

    def add(self) -> Member:
        """One more, which does not run yet."""
        number = len(self.servers) + 1
        member = Member(f"redis{number}", f"127.0.0.{10 + number}")
        self.members.append(member)
        server = Server("redis-server", member.address, self.ports.server, self.authority)
        server.settings |= {
            "save": "",
            "appendonly": "yes",
            "repl-diskless-sync-delay": "0",
            "replica-announce-ip": member.address,
            "masteruser": "replication",
            "masterauth": PASSWORDS["redis_replication_passwords"],
        }
        server.write(role_users("__redis_server_users"))
        self.servers[member.name] = server
        sentinel = Server("redis-sentinel", member.address, self.ports.sentinel, self.authority)
        password = PASSWORDS["redis_sentinel_passwords"]
        sentinel.more = [
            f"sentinel announce-ip {member.address}",
            f"sentinel announce-port {self.ports.sentinel}",
            "sentinel sentinel-user sentinel",
            f"sentinel sentinel-pass {password}",
            "sentinel auth-user selvage sentinel",
            f"sentinel auth-pass selvage {password}",
            f"sentinel down-after-milliseconds selvage {DOWN_AFTER_MS}",
        ]
        sentinel.write(role_users("__redis_sentinel_users"))
        self.sentinels[member.name] = sentinel
        return member

    def start(self) -> None:
        """As the role does it: the first one is primary, and the others are told so once."""
        for member in self.members:
            self.join(member, self.members[0].address)
        self.settle()

    def join(self, member: Member, primary: str) -> None:
        follows = "" if member.address == primary else f"replicaof {primary} {self.ports.server}\n"
        self.servers[member.name].state.write_text(follows)
        self.servers[member.name].start()
        quorum = topology.quorum(len(self.members))
        self.sentinels[member.name].state.write_text(
            f"sentinel monitor selvage {primary} {self.ports.server} {quorum}\n"
        )
        self.sentinels[member.name].start()

    def look(self) -> list[topology.Seen]:
        return members.look(self.members, self.ports, self.access)

    def settle(self) -> Primary:
        """Return when all is as it should be."""
        _, at, wrong = members.settle(
            self.look, lambda seen, at: topology.shortcomings(seen, self.ports, at), (), 120.0
        )
        assert not wrong, wrong
        return at

    def name(self, at: Primary) -> str:
        return next(member.name for member in self.members if member.address == at.address)

    def client(self, name: str, *, sentinel: bool = False, access: Access | None = None) -> Client:
        program = (self.sentinels if sentinel else self.servers)[name]
        found: list[Client] = []

        def connected() -> bool:
            found.append(Client(program.address, program.port, access or self.access))
            return True

        wait_for(connected)
        return found[0]

    def close(self) -> None:
        for program in (*self.sentinels.values(), *self.servers.values()):
            program.close()
        self.authority.close()
        if ROOT:
            Path(f"{ROOT}{self.authority.folder}").rmdir()


@contextmanager
def started() -> Iterator[Cluster]:
    """A cluster while it runs."""
    made = Cluster()
    try:
        made.start()
        yield made
    finally:
        made.close()
