"""The backup host's settings, from `/etc/selvage/backup.json`, and its way to the members."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from ..fields import Fields
from . import frames, manifest
from .manifest import SERVICES, Seen

SETTINGS: Final = Path("/etc/selvage/backup.json")
USER: Final = "selvage-backup"
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}"
_LOOK_S: Final = 60


@dataclass(frozen=True)
class Member:
    """A host with a service."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Target:
    """A backup host: for which fabric, where, how many, and whom it asks."""

    fabric: str
    # Its own name, for it never keeps what it is itself the member of.
    name: str
    folder: Path
    keep: int
    limit_s: int
    key: Path
    known_hosts: Path
    services: Mapping[str, tuple[Member, ...]]


def parse(document: object) -> Target:
    """The settings in a document; raises `fields.Invalid`."""
    fields = Fields(document, "")
    services = fields.table("services")
    found = Target(
        fabric=fields.text("fabric", manifest.FABRIC, "a name of letters, digits, _, . and -"),
        name=fields.text("name", _NAME, "this host's name"),
        folder=Path(fields.path("folder")),
        keep=fields.integer("keep", 1, 10_000),
        limit_s=fields.integer("limit_s", 1, 604_800),
        key=Path(fields.path("key")),
        known_hosts=Path(fields.path("known_hosts")),
        services={name: _members(services, name) for name in SERVICES if services.has(name)},
    )
    services.done()
    fields.done()
    return found


def _members(services: Fields, name: str) -> tuple[Member, ...]:
    members = []
    for fields in services.tables(name):
        members.append(
            Member(
                fields.text("name", _NAME, "a host's name"),
                fields.text("address", "[0-9.]{7,15}", "an IPv4 address"),
                fields.integer("port", 1, 65_535),
            )
        )
        fields.done()
    return tuple(members)


def words(target: Target, member: Member, request: str) -> list[str]:
    """The command that asks a member; its sshd lets this key ask for nothing else."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(target.known_hosts),
        "ConnectTimeout": "10",
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "6",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    given += ["-i", str(target.key), "-p", str(member.port)]
    return ["ssh", "-F", "none", "-T", *given, f"{USER}@{member.address}", request]


def look(target: Target, member: Member, service: str) -> Seen:
    """What a member says of itself; why it does not is a problem of that member's."""
    try:
        with asked(words(target, member, f"look {service}"), _LOOK_S) as stream:
            answer: dict[str, Any] = frames.unpack(stream, lambda _: None)
    except frames.BrokenError as error:
        return Seen(member.name, problem=str(error))
    return manifest.seen(member.name, answer)


@contextmanager
def asked(
    command: list[str], limit_s: float, stdin: int | IO[bytes] | None = subprocess.DEVNULL
) -> Iterator[IO[bytes]]:
    """What a command writes until `limit_s` is over; raises `frames.BrokenError` if it fails."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=said)
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit_s, end)
        timer.start()
        try:
            yield cast(IO[bytes], process.stdout)
        except frames.BrokenError as error:
            process.kill()
            process.wait()
            said.seek(0)
            words = frames.printable(said.read(4_096).decode(errors="replace"))
            reason = f"ended after {limit_s:g} s, its time limit" if late.is_set() else f"{error}"
            raise frames.BrokenError(f"{reason}: {words}" if words else reason) from None
        finally:
            timer.cancel()
            process.kill()
            process.communicate()


def push(target: Target, member: Member, service: str, paths: Sequence[Path]) -> None:
    """Bring backups, one after another, to a member that a restore has made ready for them.

    Raises `BrokenError`.
    """
    command = words(target, member, f"receive {service}")
    with (
        subprocess.Popen(["cat", "--", *map(str, paths)], stdout=subprocess.PIPE) as cat,
        asked(command, target.limit_s, cat.stdout) as answer,
    ):
        came = answer.read(4_096).decode(errors="replace").strip()
        if came != _digest(paths):
            raise frames.BrokenError(f"{member.name} has not got it whole")


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while piece := file.read(frames.PIECE):
                digest.update(piece)
    return digest.hexdigest()
