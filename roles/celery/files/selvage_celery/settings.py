"""What the role says of one application: a file that its user alone may read."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """One application on this host (roles/celery/README.md says what each means)."""

    name: str
    application: str
    directory: str
    python: str
    state: Path
    queues: tuple[str, ...]
    workers: tuple[str, ...]
    concurrency: int
    prefetch: int
    soft_seconds: int
    hard_seconds: int
    visibility_seconds: int
    stop_seconds: int
    memory_mb: int
    beat: bool
    registry: str
    environment: dict[str, str]

    def node(self, worker: str) -> str:
        """Celery's name of a worker of this host."""
        return f"{worker}@{socket.gethostname()}"

    def canaries(self, worker: str) -> str:
        """The queue that this worker alone consumes."""
        return f"selvage-canary.{self.node(worker)}"


def read(path: Path) -> Settings:
    """What the role wrote."""
    document: dict[str, Any] = json.loads(path.read_text())
    document["state"] = Path(document["state"])
    for name in ("queues", "workers"):
        document[name] = tuple(document[name])
    return Settings(**document)


def load(settings: Settings) -> Any:  # noqa: ANN401 - Celery has no types
    """The application, as `celery -A` finds it: in its directory, with its environment."""
    os.environ.update(settings.environment)
    os.chdir(settings.directory)
    sys.path.insert(0, settings.directory)
    from celery.app.utils import find_app

    return find_app(settings.application)


def replace(path: Path, text: str) -> None:
    """A file that is whole whenever somebody reads it."""
    unfinished = path.with_suffix(f".{os.getpid()}.new")
    unfinished.write_text(text)
    unfinished.replace(path)
