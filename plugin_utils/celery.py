"""What role celery needs to know of its applications, before anything changes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selvage.fields import Fields, Invalid, unique

FILES = Path(__file__).parents[1] / "roles" / "celery" / "files"
# Debian's, which has Celery where the role installs it.
PYTHON = "/usr/bin/python3"
SETTINGS_DIR = "/etc/selvage-celery"
STATE_DIR = "/var/lib/selvage-celery"
PROGRAM = "/usr/local/lib/selvage-celery"
DAY = 86_400
# Between the end of the longest task and the moment when the broker gives a job to somebody else.
MARGIN_SECONDS = 30
# What a worker needs after its last task, to say so and to end.
LEAVE_SECONDS = 30
_NAME = r"[a-z][a-z0-9_-]{0,31}"
_PATH = r"(/[A-Za-z0-9._@+-]+)+"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def applications(value: object, name: str = "celery_applications") -> list[dict[str, Any]]:
    """The applications with all their fields; raises Invalid, without any secret."""
    found = [_application(row) for row in Fields({name: value}, "").tables(name)]
    unique([one["name"] for one in found], name, "name")
    return found


def _application(row: Fields) -> dict[str, Any]:
    path = "an absolute path of letters, digits and ._@+-"
    dotted = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*(:[A-Za-z_][A-Za-z0-9_.]*)?"
    one: dict[str, Any] = {
        "name": row.text("name", _NAME, "up to 32 of a-z, 0-9, - and _"),
        "application": row.text("application", dotted, "what `celery -A` takes, as orders.tasks"),
        "directory": row.text("directory", _PATH, path),
        "user": row.text("user", r"[a-z_][a-z0-9_-]{0,31}", "a user of the host"),
        "python": row.text("python", _PATH, path, PYTHON),
        "version": row.text("version", r"[\w.:+~/-]{0,200}", "a version or a checksum", ""),
        "queues": row.texts("queues", r"[A-Za-z0-9._:-]{1,128}", "a queue's name"),
        "workers": row.integer("workers", 1, 64, 1),
        "concurrency": row.integer("concurrency", 1, 256, 1),
        "prefetch": row.integer("prefetch", 1, 64, 1),
        "hard_seconds": row.integer("hard_seconds", 2, DAY, 300),
        "memory_mb": row.integer("memory_mb", 0, 1 << 20, 0),
        "beat": row.boolean("beat", False),
        "environment": _environment(row),
    }
    hard = one["hard_seconds"]
    one["soft_seconds"] = row.integer("soft_seconds", 1, hard - 1, max(1, hard * 9 // 10))
    # A job that a worker has fetched may wait for those before it.
    least = hard * one["prefetch"] + MARGIN_SECONDS
    seconds = row.integer("visibility_seconds", 1, 7 * DAY, least)
    if seconds < least:
        raise row.fail(
            "visibility_seconds",
            f"is {seconds}, but a job may take {hard} s, a worker fetches {one['prefetch']} for"
            f" each of its processes, {MARGIN_SECONDS} s are to spare: at least {least}, or it is"
            " given to a second worker while the first one does it",
        )
    one["visibility_seconds"] = seconds
    one["stop_seconds"] = hard + LEAVE_SECONDS
    if not one["queues"]:
        raise row.fail("queues", "name one or more")
    if one["user"] == "root":
        raise row.fail("user", "a job is told what to do from afar: not root")
    row.done()
    return one


def _environment(row: Fields) -> dict[str, str]:
    found = {}
    for name, value in row.mapping("environment").items():
        if not isinstance(name, str) or _VARIABLE.fullmatch(name) is None:
            raise row.fail("environment", f"{name!r:.80} is no variable's name")
        if not isinstance(value, str) or re.search(r"[\0\n]", value):
            raise row.fail(f"environment.{name}", "expected one line of text, in quotes")
        found[name] = value
    return found


def problems(value: object) -> list[str]:
    """A line, or none."""
    try:
        applications(value)
    except Invalid as problem:
        return [str(problem)]
    return []


def workers(application: Mapping[str, Any]) -> list[str]:
    """The names of its workers on a host."""
    return [f"{application['name']}-{number + 1}" for number in range(application["workers"])]


def programs(application: Mapping[str, Any]) -> list[str]:
    """What Supervisor runs for it."""
    return [
        *workers(application),
        *([f"{application['name']}-beat"] if application["beat"] else []),
    ]


def plan(value: Sequence[Mapping[str, Any]], registry: Sequence[str]) -> list[dict[str, Any]]:
    """For each application what its files are made of, without a secret."""
    return [_planned(one, _text(one, registry)) for one in applications(value)]


def texts(value: Sequence[Mapping[str, Any]], registry: Sequence[str]) -> dict[str, str]:
    """For each application its settings file, with its secrets."""
    return {one["name"]: _text(one, registry) for one in applications(value)}


def _text(one: Mapping[str, Any], registry: Sequence[str]) -> str:
    document = {
        **{name: item for name, item in one.items() if name not in ("user", "version", "workers")},
        "state": f"{STATE_DIR}/{one['name']}",
        "workers": workers(one),
        "registry": ",".join(registry) if one["beat"] else "",
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _planned(one: Mapping[str, Any], text: str) -> dict[str, Any]:
    deployed = hashlib.sha256(text.encode() + one["version"].encode() + _programs_sum())
    return {
        **{name: item for name, item in one.items() if name != "environment"},
        "file": f"{SETTINGS_DIR}/{one['name']}.json",
        "workers": workers(one),
        "programs": programs(one),
        "deployed": deployed.hexdigest(),
        # As long as a canary may wait for those who are busy, and a bit.
        "busy_seconds": one["hard_seconds"] * one["prefetch"] + MARGIN_SECONDS,
    }


def _programs_sum() -> bytes:
    """Of the role's own programs, which a worker has to be restarted for, too."""
    found = hashlib.sha256()
    for path in sorted(FILES.rglob("*.py")):
        found.update(path.read_bytes())
    return found.digest()
