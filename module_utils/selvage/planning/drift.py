"""What somebody else changed in HAProxy or its services file. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ..catalogue import Service
from ..haproxy.sections import NOTHING, Section, split
from ..haproxy.servers import LiveServer, LiveService, Server
from ..haproxy.text import render
from .circumstances import Circumstances


def edited(services: Sequence[Service], text: str) -> bool:
    """Whether the text of the services file is another than we would have written."""
    servers = {name: section.servers for name, section in split(text).items()}
    return text != render(services, servers)


def edits(name: str, section: Section, good: Section, missing: Collection[str]) -> Iterator[str]:
    """How a section differs from the `good` one; `missing` are servers that it lacks."""
    # HAProxy runs these options and servers, so it was loaded with a file that had them, or the
    # servers were in the file before they were added.
    if section == NOTHING:
        yield f"{name} was taken out of the services file"
        return
    if section != good:
        yield f"{name} was edited in the services file"
    for server in sorted(missing):
        yield f"{server} was taken out of the services file"


def closed(live: LiveService, circumstances: Circumstances) -> Iterator[str]:
    """Whether the service takes no connections, which only a hand can have done."""
    if live.frontend != "open" and live.name not in circumstances.begun:
        yield f"{live.name} was {live.frontend} and takes no connections"


def differences(
    wanted: Sequence[Server],
    filed: Sequence[Server],
    found: Sequence[LiveServer],
    circumstances: Circumstances,
) -> tuple[str, ...]:
    """Per server, how HAProxy runs another thing than was written for it."""
    # What was written and is still wanted was taken by HAProxy when it was written.
    live = {server.name: server for server in found}
    known = set(filed)
    drift = [
        f"{server.name} {difference}"
        for server in wanted
        if server in known
        and server.name not in circumstances.begun
        and (difference := _difference(server, live.get(server.name))) is not None
    ]
    names = {server.name for server in (*filed, *wanted)}
    drift += [f"{s.name} was added" for s in found if s.name not in names and s.serves]
    return tuple(sorted(drift))


def _difference(server: Server, found: LiveServer | None) -> str | None:
    if found is None:
        return "was removed"
    if (server.address, server.port, server.backup) != (found.address, found.port, found.backup):
        return f"was changed to {found.address}:{found.port}{' backup' if found.backup else ''}"
    if found.maintenance != server.disabled:
        return "was put into maintenance" if found.maintenance else "was taken out of maintenance"
    if found.draining:
        return "was drained"
    if not found.checked and not server.disabled:
        return "was left without its check"
    if found.weight != server.weight:
        return f"was given the weight {found.weight}"
    if found.max_connections != server.max_connections:
        return f"was given the limit {found.max_connections or 'none'}"
    return None
