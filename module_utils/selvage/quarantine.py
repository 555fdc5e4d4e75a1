"""One service that HAProxy would refuse must harm only itself: it stays as it was. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from .haproxy_config import variable_name


def keep(text: str, current: str, names: Collection[str]) -> str:
    """The services file `text`, with the named services as they stand in `current`.

    A service that does not stand in `current` is left out.
    """
    if not names:
        return text
    sections, former = _sections(text), _sections(current)
    for name in names:
        section = f"listen {name}"
        sections[section] = former.get(section, "")
        start = f"    set-var {variable_name(name)} "
        line = "".join(line for line in _lines(former) if line.startswith(start))
        sections["global"] = "".join(
            line if other.startswith(start) else other for other in _lines(sections)
        )
    if sections["global"].strip() == "global":
        del sections["global"]
    return "\n".join(filter(None, sections.values()))


def _lines(sections: Mapping[str, str]) -> list[str]:
    return sections.get("global", "").splitlines(keepends=True)


def _sections(text: str) -> dict[str, str]:
    """The sections of a rendered file, in order, by their first line."""
    sections = [f"{section}\n" for section in text.removesuffix("\n").split("\n\n")]
    return {section.partition("\n")[0]: section for section in sections}


def listeners(text: str) -> dict[str, int]:
    """The local port of each service in a services file."""
    pattern = r"^listen (\S+)\n    bind 127\.0\.0\.1:([0-9]+)$"
    return {name: int(port) for name, port in re.findall(pattern, text, re.MULTILINE)}
