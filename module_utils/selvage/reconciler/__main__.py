"""`python3 -m selvage.reconciler`: the daemon as a program."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..fields import Invalid
from ..system.journal import setup
from .daemon import Daemon
from .settings import DEFAULT_PATH, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; 0 when it was told to end, 2 when the configuration is invalid."""
    parser = argparse.ArgumentParser(
        prog="selvage.reconciler", description="Keeps this node's HAProxy equal to the registry."
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="validate the file and end")
    options = parser.parse_args(arguments)
    try:
        settings = load(options.config)
    except Invalid as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        print(f"{options.config}: valid, services: {len(settings.services)}")
        return 0
    setup()
    Daemon(settings, options.config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
