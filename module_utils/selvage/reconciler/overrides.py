"""Operators' overrides: servers that stay in maintenance on this node, with a reason and an end.

One file per server in a folder of the state directory, so that two operators do not overwrite each
other. The reconciler heeds them until they end.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from ..catalogue import SERVICE_NAME, Service
from ..fields import Fields, Invalid, read
from ..formats.grammar import parse_address
from ..haproxy.servers import server_name
from ..system import files

# The name of a file for the moment in which it is removed.
_ENDED: Final = ".ended"
_KEPT_S: Final = 86_400
# The others wait for the lock meanwhile.
_REMOVED_AT_ONCE: Final = 50
_SETTLED_S: Final = 1.0
_PLACE: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9.]{7,15}):([1-9][0-9]{0,4})")


@dataclass(frozen=True)
class Override:
    """`server` is the name in HAProxy; `until` is in seconds since 1970."""

    service: str
    server: str
    reason: str
    until: int


def parse(service: Service, place: str, reason: str, lasts: str, now: float) -> Override:
    """The override of the server at `place`, as an operator gives it: `198.18.0.21:8080`, `2h`.

    Raises `fields.Invalid`.
    """
    given = Fields({"for": lasts}, "")
    lasts_ms = given.duration("for", "1s", "720h")
    return _parse(
        {
            "service": service.name,
            "server": server_at(service, place),
            "reason": reason,
            "until": round(now + lasts_ms / 1000),
        }
    )


def server_at(service: Service, place: str) -> str:
    """The name of the server at an address and port; raises `fields.Invalid`."""
    match = _PLACE.fullmatch(place)
    try:
        if match is None or int(match[2]) > 65_535:
            raise ValueError("is not an address and a port")
        return server_name(service.name, parse_address(match[1].strip("[]")), int(match[2]))
    except ValueError as error:
        raise Invalid(
            f"{place!r:.80} {error}: expected ADDRESS:PORT, such as 198.18.0.21:8080"
        ) from None


def put(folder: Path, override: Override, now: float, *, dry_run: bool = False) -> bool:
    """Set the override; whether that changes anything. Raises OSError.

    One with the same reason stays as it is for the first tenth of its time, so that a repeated
    command changes nothing, and a later one extends it.
    """
    path = folder / f"{override.server}.json"
    with contextlib.suppress(Invalid):
        former = _read(path)
        same = (former.service, former.reason) == (override.service, override.reason)
        if same and abs(override.until - former.until) <= (override.until - now) / 10:
            return False
    if not dry_run:
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            files.sync(folder.parent)
        files.write(path, json.dumps(asdict(override), sort_keys=True) + "\n", durable=True)
    return True


def remove(folder: Path, server: str, *, dry_run: bool = False) -> bool:
    """End the override; whether there was one. Raises OSError."""
    path = folder / f"{server}.json"
    found = path.exists()
    if not dry_run:
        files.remove(path, durable=found)
    return found


def load(folder: Path, now: float) -> tuple[tuple[Override, ...], tuple[str, ...]]:
    """The overrides in force at `now` (seconds since 1970), and what is wrong with other files."""
    return Overrides(folder).load(now)


class Overrides:
    """The overrides of a node; they stay in memory while nothing changes in their folder.

    Files that ended a day ago are removed: a clock that is wrong for a moment must not end what an
    operator set.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed_at: int | None = None
        self._found: tuple[Override, ...] = ()
        self._problems: tuple[str, ...] = ()
        self._unfinished = False

    def load(self, now: float) -> tuple[tuple[Override, ...], tuple[str, ...]]:
        """Those in force at `now` (seconds since 1970), and what is wrong with other files.

        While the folder cannot be read, those of before stay: that is no word to end them.
        """
        changed = changed_at(self._folder)
        # Two changes may have the same time, so one that was just made may not be the last.
        if changed != self._changed_at or changed / 1e9 > now - _SETTLED_S:
            try:
                self._found, self._problems = _read_all(self._folder)
                self._unfinished = bool(_paths(self._folder, _ENDED))
            except OSError as error:
                return self._in_force(now), (f"{self._folder}: {error.strerror}",)
            self._changed_at = changed
        return self._in_force(now), self._problems

    def clear(self, now: float) -> None:
        """Remove what ended a day before `now`, for who holds the node's lock; raises OSError."""
        ended = [o for o in self._found if o.until <= now - _KEPT_S][:_REMOVED_AT_ONCE]
        if not ended and not self._unfinished:
            return
        for override in ended:
            with contextlib.suppress(FileNotFoundError):
                path = self._folder / f"{override.server}.json"
                path.replace(path.with_suffix(_ENDED))
        for path in _paths(self._folder, _ENDED):
            with contextlib.suppress(Invalid):
                if _read(path).until > now:
                    # An operator has just set it anew; or once more since, which then counts.
                    with contextlib.suppress(FileExistsError):
                        path.with_suffix(".json").hardlink_to(path)
            path.unlink(missing_ok=True)
        removed = {override.server for override in ended}
        self._found = tuple(o for o in self._found if o.server not in removed)
        self._unfinished = False

    def _in_force(self, now: float) -> tuple[Override, ...]:
        return tuple(override for override in self._found if override.until > now)


def changed_at(folder: Path) -> int:
    """When an override was last set or ended, in nanoseconds of the file system; 0 for never."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _read_all(folder: Path) -> tuple[tuple[Override, ...], tuple[str, ...]]:
    """All of the folder, and what is wrong with its files; raises OSError."""
    overrides, problems = [], []
    for path in _paths(folder, ".json"):
        try:
            overrides.append(_read(path))
        except Invalid as error:
            # What was ended in this moment is no problem.
            problems += [str(error)] if path.exists() else []
    return tuple(overrides), tuple(problems)


def _paths(folder: Path, suffix: str) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    # A name with a dot in front is still being written.
    return [path for path in paths if path.suffix == suffix and not path.name.startswith(".")]


def _read(path: Path) -> Override:
    return read(path, _parse)


def _parse(document: Mapping[str, object]) -> Override:
    fields = Fields(document, "")
    service = fields.text("service", SERVICE_NAME, "a service")
    server = rf"{service}_[0-9a-f.:]+_[1-9][0-9]{{0,4}}"
    override = Override(
        service=service,
        server=fields.text("server", server, f"a server of {service}"),
        reason=fields.reason("reason"),
        until=fields.integer("until", 0, 2**53),
    )
    fields.done()
    return override
