"""What a host may send of its services: `/etc/selvage/backup-source.json`, without a secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..fields import Fields

SOURCE: Final = Path("/etc/selvage/backup-source.json")
RECIPIENT: Final = r"age1[0-9a-z]{58}"
_ADDRESS: Final = r"[0-9.]{7,15}"


@dataclass(frozen=True)
class ZooKeeper:
    """A member: where its snapshots and its logs are, and where it answers."""

    data: Path
    log: Path
    address: str
    port: int


@dataclass(frozen=True)
class Redis:
    """A member: where it answers, whose certificate to believe, and the file with the password."""

    address: str
    port: int
    ca: Path
    secrets: Path


@dataclass(frozen=True)
class MySQL:
    """A member: its socket, the file with its account's password, and role mysql's programs."""

    socket: Path
    options: Path
    programs: Path
    # As statements, not as the server's files.
    logical: bool = False


@dataclass(frozen=True)
class Source:
    """The services of a host, and age's public keys: with one, nothing leaves it unencrypted."""

    recipients: tuple[str, ...]
    zookeeper: ZooKeeper | None
    redis: Redis | None
    mysql: MySQL | None


def parse(document: object) -> Source:
    """The settings in a document; raises `fields.Invalid`."""
    fields = Fields(document, "")
    found = Source(
        recipients=tuple(fields.texts("recipients", RECIPIENT, "a public key of age: age1…")),
        zookeeper=_zookeeper(fields.table("zookeeper")) if fields.has("zookeeper") else None,
        redis=_redis(fields.table("redis")) if fields.has("redis") else None,
        mysql=_mysql(fields.table("mysql")) if fields.has("mysql") else None,
    )
    fields.done()
    return found


def _zookeeper(fields: Fields) -> ZooKeeper:
    found = ZooKeeper(
        data=Path(fields.path("data")),
        log=Path(fields.path("log")),
        address=fields.text("address", _ADDRESS, "an IPv4 address"),
        port=fields.integer("port", 1, 65_535),
    )
    fields.done()
    return found


def _redis(fields: Fields) -> Redis:
    found = Redis(
        address=fields.text("address", _ADDRESS, "an IPv4 address"),
        port=fields.integer("port", 1, 65_535),
        ca=Path(fields.path("ca")),
        secrets=Path(fields.path("secrets")),
    )
    fields.done()
    return found


def _mysql(fields: Fields) -> MySQL:
    found = MySQL(
        socket=Path(fields.path("socket")),
        options=Path(fields.path("options")),
        programs=Path(fields.path("programs")),
        logical=fields.boolean("logical", default=False),
    )
    fields.done()
    return found
