"""One run of the backup host: each service from the member that fits best, then the rotation."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..fields import Invalid
from . import frames, logs, manifest, state, target
from .manifest import Manifest, Seen
from .store import Store
from .target import Target

Tell = Callable[[str], object]


def run(settings: Target, services: list[str], folder: Path, tell: Tell) -> bool:
    """Back up these services, one after another; whether all of them came. The caller has the lock.

    The state is in `folder`. A service that fails stops no other.
    """
    fine = True
    for service in services:
        now = state.begun(state.read(folder / "state.json"), service, _now())
        state.write(folder, now)
        try:
            store = Store(_folder(settings, service))
            made = take(settings, service, store)
            gone = _rotate(settings, service, store)
        except (frames.BrokenError, Invalid, OSError) as error:
            reason = frames.printable(str(error))
            state.write(folder, state.failed(now, service, _now(), reason))
            tell(f"{service} failed: {reason}")
            fine = False
        else:
            kept = len(store.names())
            state.write(folder, state.succeeded(now, service, _now(), made, kept))
            more = f", removed {', '.join(gone)}" if gone else ""
            tell(f"{service} {made.name} from {made.member}: {made.size} bytes{more}")
    return fine


def take(settings: Target, service: str, store: Store) -> Manifest:
    """The backup that the first of the members that fit has given; raises `BrokenError`."""
    members = {one.name: one for one in settings.services[service]}
    with ThreadPoolExecutor(max_workers=len(members) or 1) as pool:
        seen = list(pool.map(lambda one: target.look(settings, one, service), [*members.values()]))
    reasons = []
    # The primary is the first to have a transaction in its log.
    first = "primary" if service == manifest.LOGS else "replica"
    for one in manifest.order(seen, settings.name, first):
        name, moment = one.name, manifest.name_of(_now())

        def complete(details: dict[str, Any], member: str = name, now: str = moment) -> Manifest:
            about = {"fabric": settings.fabric, "service": service, "name": now, "member": member}
            return manifest.complete({**about, "ended": state.stamp(_now())}, details)

        try:
            since = _since(settings, one, store) if service == manifest.LOGS else ""
            command = target.words(settings, members[name], f"send {service} {since}".strip())
            with target.asked(command, settings.limit_s) as stream:
                return store.keep(moment, stream, complete)
        except (frames.BrokenError, Invalid) as error:
            reasons.append(f"{name}: {error}")
    raise frames.BrokenError("; ".join(reasons) or manifest.refusal(seen, settings.name))


def _since(settings: Target, member: Seen, store: Store) -> str:
    """Where a member's logs go on; raises `Invalid`."""
    return logs.since(_data(settings).manifests(), store.manifests(), member.cluster)


def _rotate(settings: Target, service: str, store: Store) -> list[str]:
    """Remove what nobody needs any more; the names of those backups."""
    if service != manifest.LOGS:
        return store.rotate(settings.keep)
    return store.remove(logs.needless(_data(settings).manifests(), store.manifests()))


def _data(settings: Target) -> Store:
    return Store(_folder(settings, "mysql"))


def _folder(settings: Target, service: str) -> Path:
    """The folder of a service's backups, which root alone may enter."""
    path = settings.folder / settings.fabric / service
    for one in (settings.folder, path.parent, path):
        one.mkdir(mode=0o700, exist_ok=True)
        status = one.stat()
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise Invalid(f"{one}: others may enter it: chmod 0700 and chown it to root")
    return path


def _now() -> datetime:
    return datetime.now(UTC)
