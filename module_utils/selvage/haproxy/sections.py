"""The services file as the sections that its services have in it. Pure.

A section can be replaced, kept or left out by itself, so that a service harms only itself, and a
change costs what it concerns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..catalogue import SERVICE_NAME
from .lines import parse_server
from .servers import Server, by_name

HEADER: Final = """\
# Written by Selvage's reconciler. Edits are overwritten: change the catalogue (fabric_services)
# for options, the registry for servers.
"""
_LISTEN: Final = re.compile(rf"listen ({SERVICE_NAME})")
_VARIABLE: Final = re.compile(r"    set-var (proc\.selvage\.\S+) .*")
_BIND: Final = re.compile(r"^    bind 127\.0\.0\.1:([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """What the file says about one service.

    `variable` is its line in the global section, empty when there is none; `listen` its proxy, and
    `servers` what that says of servers, sorted. They are kept here so that they are parsed once,
    and forgotten with their section.
    """

    variable: str
    listen: str
    servers: tuple[Server, ...] = field(compare=False)

    @property
    def port(self) -> int | None:
        """The local port."""
        match = _BIND.search(self.listen)
        return int(match[1]) if match else None


NOTHING: Final = Section("", "", ())


def variable_name(service: str) -> str:
    """The variable with the service's fingerprint; variables know dots, but no dashes."""
    return f"proc.selvage.{service.replace('-', '.')}"


def assemble(sections: Mapping[str, Section]) -> str:
    """The text of the file. The same sections give the same bytes, whatever their order."""
    ordered = [sections[name] for name in sorted(sections)]
    variables = "".join(section.variable for section in ordered)
    parts = [HEADER, *(["global\n" + variables] if variables else [])]
    return "\n".join([*parts, *(section.listen for section in ordered)])


def owner(text: str, line: int) -> str | None:
    """The service whose proxy holds this line of the text, counted from 1; None for no service."""
    for above in reversed(text.split("\n")[:line]):
        if above and not above.startswith(" "):
            match = _LISTEN.fullmatch(above)
            return match[1] if match else None
    return None


def split(text: str) -> dict[str, Section]:
    """The sections in a text, by service; what is of no service is left out."""
    variables: dict[str, str] = {}
    listens: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.split("\n"):
        if line and not line.startswith(" "):
            match = _LISTEN.fullmatch(line)
            lines = listens.setdefault(match[1], []) if match else []
        elif (variable := _VARIABLE.fullmatch(line)) is not None:
            variables[variable[1]] = f"{line}\n"
        if line:
            lines.append(f"{line}\n")
    return {
        name: Section(
            variable=variables.get(variable_name(name), ""),
            listen="".join(found),
            servers=_servers(name, found),
        )
        for name, found in listens.items()
    }


def _servers(name: str, lines: Iterable[str]) -> tuple[Server, ...]:
    # Only lines as we write them count; others are skipped, because the file is made anew in any
    # case and half of it is worth more than none.
    parsed = (parse_server(name, line.removesuffix("\n")) for line in lines)
    return by_name({server.name: server for server in parsed if server is not None}.values())
