"""`python3 -m selvage.registrar`: the daemon as a program."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..fields import Invalid
from ..system.journal import event, setup
from .daemon import Registrar
from .settings import DEFAULT_PATH, load

_logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; 0 when it was told to end, 2 when the configuration is invalid."""
    parser = argparse.ArgumentParser(
        prog="selvage.registrar", description="Keeps this node's healthy instances in the registry."
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="validate the file and end")
    options = parser.parse_args(arguments)
    started = time.time()
    try:
        settings = load(options.config)
    except Invalid as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        print(f"{options.config}: valid, instances: {len(settings.instances)}")
        return 0
    setup()
    _mark(settings.state_directory / "started", started)
    Registrar(settings, options.config).run()
    return 0


def _mark(path: Path, started: float) -> None:
    """Let the role see whether a file is newer than what this process has read."""
    try:
        path.touch()
        os.utime(path, (started, started))
    except OSError as error:
        event(_logger, logging.WARNING, "cannot say when this process began", error=error)


if __name__ == "__main__":
    sys.exit(main())
