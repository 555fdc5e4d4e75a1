"""`python3 -m selvage.reconciler`: the daemon as a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..system import program
from .daemon import Daemon
from .settings import DEFAULT_PATH, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; 0 when it was told to end, 2 when the configuration is invalid."""
    return program.run(
        arguments,
        name="selvage.reconciler",
        purpose="Keeps this node's HAProxy equal to the registry.",
        config=DEFAULT_PATH,
        load=load,
        summary=lambda settings: f"services: {len(settings.services)}",
        serve=lambda settings, path: Daemon(settings, path).run(),
    )


if __name__ == "__main__":
    sys.exit(main())
