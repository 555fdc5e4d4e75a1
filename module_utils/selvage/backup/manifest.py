"""What is known of a backup, which ones are kept, and from whom the next one comes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ..fields import Fields, Invalid

# MySQL's logs come after its data: they go on from there.
LOGS: Final = "mysql-logs"
SERVICES: Final = ("zookeeper", "redis", "mysql", LOGS)
NAME: Final = r"[0-9]{8}T[0-9]{6}Z"
# It is a folder's name, too.
FABRIC: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,249}"
_FORMAT: Final = 1
_HOST: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}"
# What the sender says; the rest the backup host knows.
_SAID: Final = ("role", "position", "version", "sha256", "size", "encrypted")
# What only some services have.
_MORE: Final = ("cluster", "since")
_WORD: Final = r"[A-Za-z0-9 .,:/=_+-]{0,300}"
_GTID: Final = r"[0-9]{1,10}-[0-9]{1,10}-[0-9]{1,20}"
GTIDS: Final = rf"({_GTID}(,{_GTID}){{0,63}})?"
_TIME: Final = r"([0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\+00:00)?"


@dataclass(frozen=True)
class Manifest:
    """One backup: of what, from whom, and how to know that it is whole."""

    fabric: str
    service: str
    # When it began, such as 20261122T051800Z; the name of its folder, too.
    name: str
    # The member that it came from, and what that was then: primary or replica.
    member: str
    role: str
    # How far the member was: ZooKeeper's transaction, Redis's offset, MariaDB's GTID.
    position: str
    version: str
    # Of the file as it lies there, encrypted or not.
    sha256: str
    size: int
    encrypted: bool
    # Of MySQL: whose history the position is of, for each restore begins another one.
    cluster: str = ""
    # Of its logs: the position after which they begin.
    since: str = ""
    # When the last of it had come: nothing in it is later.
    ended: str = ""

    def text(self) -> str:
        """The manifest's file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2) + "\n"


def parse(text: str, where: str) -> Manifest:
    """A manifest from its file; raises `Invalid` with the place."""
    try:
        document = json.loads(text)
    except ValueError:
        raise Invalid(f"{where}: is damaged, it is no JSON") from None
    return _manifest(Fields(document, where))


def complete(about: Mapping[str, str], details: Mapping[str, Any]) -> Manifest:
    """The manifest of a backup with what its sender said at the end; raises `Invalid`."""
    said = {name: details.get(name) for name in _SAID}
    said |= {name: details[name] for name in _MORE if name in details}
    return _manifest(Fields({"format": _FORMAT, **said, **about}, about["member"]))


def _manifest(fields: Fields) -> Manifest:
    fields.integer("format", _FORMAT, _FORMAT)
    service = fields.choice("service", SERVICES)
    place = GTIDS if service in ("mysql", LOGS) else _WORD
    found = Manifest(
        fabric=fields.text("fabric", FABRIC, "a fabric's name"),
        service=service,
        name=fields.text("name", NAME, "a time such as 20261122T051800Z"),
        member=fields.text("member", _HOST, "a host's name"),
        role=fields.choice("role", ("primary", "replica")),
        position=fields.text("position", place, "a place in the log"),
        version=fields.text("version", _WORD, "a version"),
        sha256=fields.text("sha256", "[0-9a-f]{64}", "a SHA-256"),
        size=fields.integer("size", 0, 1 << 60),
        encrypted=fields.boolean("encrypted"),
        cluster=fields.text("cluster", _WORD, "a cluster's name", ""),
        since=fields.text("since", GTIDS, "a place in the log", ""),
        ended=fields.text("ended", _TIME, "a time such as 2026-11-22T05:18:00+00:00", ""),
    )
    fields.done()
    return found


def name_of(moment: datetime) -> str:
    """The name of a backup that begins now; names sort as times do."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def made(name: str) -> datetime:
    """When a backup of this name began."""
    return datetime.strptime(name, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def names(found: Iterable[str]) -> list[str]:
    """The backups among the names in a folder, the oldest first."""
    return sorted(name for name in found if re.fullmatch(NAME, name))


def surplus(found: Iterable[str], keep: int) -> list[str]:
    """The backups that go when `keep` stay: the oldest, and never the newest one."""
    return names(found)[: -max(keep, 1)]


@dataclass(frozen=True)
class Seen:
    """A member as it answered: its role and how far it is, or why it cannot be taken."""

    name: str
    role: str = ""
    position: int = 0
    # Whose data MySQL's are.
    cluster: str = ""
    problem: str | None = None


def seen(name: str, answer: Mapping[str, Any]) -> Seen:
    """A member from what it said."""
    fields = Fields(answer, name)
    try:
        return Seen(
            name,
            fields.choice("role", ("primary", "replica")),
            fields.integer("position", -(1 << 62), 1 << 62),
            fields.text("cluster", _WORD, "a cluster's name", ""),
            fields.reason("problem") if fields.has("problem") else None,
        )
    except Invalid as problem:
        return Seen(name, problem=str(problem))


def order(members: Sequence[Seen], host: str, first: str = "replica") -> list[Seen]:
    """Whom to take the backup from, the best first: those of that role, the furthest of them first.

    Never from the very host that keeps it.
    """
    able = [one for one in members if one.problem is None and one.name != host]
    return sorted(able, key=lambda one: (one.role != first, -one.position, one.name))


def refusal(members: Sequence[Seen], host: str) -> str:
    """Why there is nobody to take a backup from."""
    reasons = [
        f"{one.name}: {one.problem or 'is this very host, and a backup is kept elsewhere'}"
        for one in members
        if one.problem is not None or one.name == host
    ]
    return f"no member can be taken: {'; '.join(reasons) or 'there is none'}"
