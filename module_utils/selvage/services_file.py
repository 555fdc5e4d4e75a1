"""The services file on disk: whole or not at all, and never one that HAProxy refuses."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from .settings import HAProxySettings


class NotWritten(Exception):
    """The file could not be written and is what it was; the message is one line."""


class Refused(Exception):
    """`haproxy -c` refuses the configuration; the message is HAProxy's, on one line."""


def read(settings: HAProxySettings) -> str:
    """The file's text, empty when there is none; raises `NotWritten` when it cannot be read."""
    try:
        return Path(settings.services_config).read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise NotWritten(f"{settings.services_config}: {error.strerror}") from error


class Draft:
    """A new text beside the file, to be checked and then committed. Use it in `with`."""

    def __init__(self, settings: HAProxySettings, text: str) -> None:
        self._settings = settings
        self._target = Path(settings.services_config)
        # One name, because the reconcile lock is held: what a killed run left is overwritten.
        self._path = self._target.with_name(f"{self._target.name}.new")
        self._text = text

    def __enter__(self) -> Draft:
        try:
            self._write()
        except OSError as error:
            self._discard()
            raise self._not_written(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def check(self) -> None:
        """Ask `haproxy -c`; raises `Refused`, or `NotWritten` when HAProxy cannot be run."""
        settings = self._settings
        command = [settings.binary, "-c", "-f", settings.config, "-f", str(self._path)]
        try:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=settings.timeout_ms / 1000,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotWritten(f"cannot check with {settings.binary}: {error}") from error
        if result.returncode != 0:
            raise Refused(_alerts(result.stdout + result.stderr))

    def commit(self) -> None:
        """Put the draft in the file's place; it is on disk when this returns."""
        try:
            self._path.replace(self._target)
            folder = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._not_written(error) from error

    def _write(self) -> None:
        with self._path.open("w", encoding="utf-8") as file:
            # HAProxy reads it as another user, whatever our umask.
            os.fchmod(file.fileno(), 0o644)
            file.write(self._text)
            file.flush()
            os.fsync(file.fileno())

    def _discard(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            # A read-only file system: the reason was told when writing failed.
            return

    def _not_written(self, error: OSError) -> NotWritten:
        return NotWritten(
            f"{self._target}: cannot be written: {error.strerror}; nothing was changed"
        )


def _alerts(log: str) -> str:
    alerts = re.findall(r"\[ALERT\] +\([0-9]+\) : (?:config : )?(.+)", log)
    return "; ".join(alerts) or " ".join(log.split())
