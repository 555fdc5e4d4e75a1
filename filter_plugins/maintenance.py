"""A small pure function for playbooks/maintenance.yml: what is wrong with its input."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def maintenance_problem(request: Mapping[str, Any], known: Sequence[str]) -> str:
    """What is wrong with the input of playbooks/maintenance.yml, in one line; empty if nothing.

    The nodes judge it as well, and more closely, each for itself.
    """
    for name, pattern, expected in (
        ("service", "|".join(map(re.escape, known)), f"one of {', '.join(known)}"),
        (
            "server",
            r"(\[[0-9A-Fa-f:.]+\]|[0-9]+(\.[0-9]+){3}):[0-9]+",
            "ADDRESS:PORT, such as 198.18.0.21:8080",
        ),
        ("state", "maint|ready", "maint or ready"),
        ("reason", ".{1,200}", "one line for whoever comes next"),
        ("for", "[0-9]+(ms|s|m|h)", "a duration, such as 2h"),
    ):
        value = str(request[name])
        needed = name not in ("reason", "for") or request["state"] != "ready"
        if needed and re.fullmatch(pattern, value) is None:
            return f"-e {name}=: expected {expected}, got {value!r:.80}"
    return ""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"maintenance_problem": maintenance_problem}
