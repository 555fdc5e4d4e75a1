"""Operators' overrides: servers that stay in maintenance on this node, with a reason and an end.

One file per server in a folder of the state directory, so that two operators do not overwrite each
other. The reconciler heeds them until they end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .fields import Fields, Invalid
from .settings import read as read_json

_REASON = r"[^\x00-\x1f\x7f]{1,200}"


@dataclass(frozen=True)
class Override:
    """`server` is the name in HAProxy; `until` is in seconds since 1970."""

    service: str
    server: str
    reason: str
    until: int


def put(folder: Path, override: Override) -> bool:
    """Set the override; whether it is new. Raises OSError."""
    path = folder / f"{override.server}.json"
    text = json.dumps(asdict(override), sort_keys=True) + "\n"
    folder.mkdir(exist_ok=True)
    if path.exists() and path.read_text("utf-8", "replace") == text:
        return False
    draft = path.with_suffix(".new")
    draft.write_text(text, "utf-8")
    draft.replace(path)
    return True


def remove(folder: Path, server: str) -> bool:
    """End the override; whether there was one. Raises OSError."""
    path = folder / f"{server}.json"
    found = path.exists()
    path.unlink(missing_ok=True)
    return found


def load(folder: Path, now: float) -> tuple[tuple[Override, ...], tuple[str, ...]]:
    """The overrides in force at `now` (seconds since 1970), and what is wrong with other files."""
    overrides, problems = [], []
    for path in _files(folder):
        try:
            override = _parse(Fields(read_json(path), ""))
        except Invalid as error:
            problems.append(str(error))
        else:
            if override.until > now:
                overrides.append(override)
    return tuple(overrides), tuple(problems)


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.glob("*.json"))
    except OSError:
        return


def _parse(fields: Fields) -> Override:
    override = Override(
        service=fields.text("service", r"[a-z0-9][a-z0-9_-]{0,62}", "a service"),
        server=fields.text("server", r"[A-Za-z0-9_.:-]{1,255}", "a server's name"),
        reason=fields.text("reason", _REASON, "one line of up to 200 characters"),
        until=fields.integer("until", 0, 2**53),
    )
    fields.done()
    return override
