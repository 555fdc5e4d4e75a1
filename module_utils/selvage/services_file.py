"""The services file on disk: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from .settings import HAProxySettings


class FileFailed(Exception):
    """The services file cannot be read, checked or written, and is what it was."""


def read(settings: HAProxySettings) -> str:
    """The file's text, empty when there is none; raises `FileFailed`."""
    try:
        return Path(settings.services_config).read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FileFailed(f"{settings.services_config}: {error.strerror}") from error


def complaint(settings: HAProxySettings, text: str) -> str | None:
    """What HAProxy has against this text as its services file, on one line; None if nothing.

    `haproxy -c` reads the text from its standard input, so that a text is on disk only once it is
    good. Raises `FileFailed` when HAProxy cannot be run.
    """
    command = [settings.binary, "-c", "-f", settings.config, "-f", "/dev/stdin"]
    try:
        result = subprocess.run(
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=settings.timeout_ms / 1000,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FileFailed(
            f"{settings.binary}: the configuration cannot be checked: {error}"
        ) from error
    if result.returncode == 0:
        return None
    # The first alert says it; the place is a line of a text that nobody else sees.
    alert = re.search(
        r"\[ALERT\] +\([0-9]+\) : (?:config : )?(?:parsing \[\S+\] : )?(.+)", result.stdout
    )
    return alert[1] if alert else f"exit {result.returncode}: {' '.join(result.stdout.split())}"


def write(settings: HAProxySettings, text: str) -> None:
    """Put the text in the file's place; it is on disk when this returns. Raises `FileFailed`."""
    target = Path(settings.services_config)
    # One name for all: the reconcile lock is held, and what a killed run left is overwritten.
    draft = target.with_name(f"{target.name}.new")
    try:
        draft.unlink(missing_ok=True)  # It may be another user's.
        with draft.open("x", encoding="utf-8") as file:
            # HAProxy may read it as another user, whatever our umask.
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        _sync(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # a read-only file system
            draft.unlink()
        raise FileFailed(
            f"{target}: cannot be written: {error.strerror}; nothing was changed"
        ) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
