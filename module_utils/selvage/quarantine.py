"""One service that HAProxy would refuse must harm only itself: it stays as it was. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from .haproxy_config import variable_name


def keep(text: str, current: str, names: Collection[str]) -> str:
    """The services file `text`, with the named services as they stand in `current`.

    A service that does not stand in `current` is left out.
    """
    for name in names:
        for pattern in (
            rf"^listen {re.escape(name)}\n(?: .*\n)*\n?",
            rf"^    set-var {re.escape(variable_name(name))} .*\n",
        ):
            former = re.search(pattern, current, re.MULTILINE)
            replacement = former[0].rstrip("\n") + "\n" if former else ""
            found = re.search(pattern, text, re.MULTILINE)
            if found is None:
                continue
            end = "\n" if replacement and found[0].endswith("\n\n") else ""
            text = text[: found.start()] + replacement + end + text[found.end() :]
    return text


def listeners(text: str) -> dict[str, int]:
    """The local port of each service in a services file."""
    pattern = r"^listen (\S+)\n    bind 127\.0\.0\.1:([0-9]+)$"
    return {name: int(port) for name, port in re.findall(pattern, text, re.MULTILINE)}
