"""`python3 -m selvage.registrar`: the daemon as a program."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..system import program
from ..system.journal import event
from .daemon import Registrar
from .settings import DEFAULT_PATH, RegistrarSettings, load

_logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; 0 when it was told to end, 2 when the configuration is invalid."""
    started = time.time()

    def serve(settings: RegistrarSettings, config: Path) -> None:
        _mark(settings.state_directory / "started", started)
        Registrar(settings, config).run()

    return program.run(
        arguments,
        name="selvage.registrar",
        purpose="Keeps this node's healthy instances in the registry.",
        config=DEFAULT_PATH,
        load=load,
        summary=lambda settings: f"instances: {len(settings.instances)}",
        serve=serve,
    )


def _mark(path: Path, started: float) -> None:
    """Let the role see whether a file is newer than what this process has read."""
    try:
        path.touch()
        os.utime(path, (started, started))
    except OSError as error:
        event(_logger, logging.WARNING, "cannot say when this process began", error=error)


if __name__ == "__main__":
    sys.exit(main())
