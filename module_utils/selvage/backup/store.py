"""The folder of one service's backups on the backup host. Only root of that host reads it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from ..fields import Invalid
from ..system import files
from . import frames, manifest
from .manifest import Manifest

DATA: Final = "data"
_MANIFEST: Final = "manifest.json"
_PARTIAL: Final = ".partial"


@dataclass(frozen=True)
class Store:
    """Backups of one service of one fabric, each in a folder that is called by its time."""

    folder: Path

    def names(self) -> list[str]:
        """Whole backups, the oldest first."""
        return manifest.names(path.name for path in self.folder.iterdir())

    def path(self, name: str) -> Path:
        """The file with a backup's data."""
        return self.folder / name / DATA

    def keep(
        self, name: str, stream: IO[bytes], complete: Callable[[dict[str, Any]], Manifest]
    ) -> Manifest:
        """Write what the stream brings; it has its name only when it is whole and on disk.

        `complete` makes the manifest from what the sender said at the end. Raises OSError and
        `frames.BrokenError`, and leaves nothing behind then.
        """
        draft = self.folder / _PARTIAL
        self.clean()
        draft.mkdir(mode=0o700)
        try:
            with (draft / DATA).open("xb") as file:
                details = frames.unpack(stream, file.write)
                if file.tell() == 0:
                    raise frames.BrokenError("it sends nothing")
                file.flush()
                os.fsync(file.fileno())
            found = complete(details)
            files.write(draft / _MANIFEST, found.text(), mode=0o600, durable=True)
            draft.rename(self.folder / name)
            files.sync(self.folder)
        except BaseException:
            self.clean()
            raise
        return found

    def clean(self) -> None:
        """Remove what an interrupted run has left."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder / _PARTIAL)

    def manifests(self) -> list[Manifest]:
        """Of all backups, the oldest first; raises `Invalid`."""
        return [self.read(name) for name in self.names()]

    def rotate(self, keep: int) -> list[str]:
        """Remove the oldest beyond `keep`; their names."""
        return self.remove(manifest.surplus(self.names(), keep))

    def remove(self, gone: list[str]) -> list[str]:
        """Remove these; their names."""
        for name in gone:
            # Without its manifest it is none any more, however far this comes.
            (self.folder / name / _MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.folder / name)
        return gone

    def read(self, name: str) -> Manifest:
        """A backup's manifest; raises `Invalid`."""
        path = self.folder / name / _MANIFEST
        try:
            return manifest.parse(path.read_text(errors="replace"), str(path))
        except OSError as error:
            raise Invalid(f"{path}: {error.strerror}") from None

    def verify(self, name: str) -> Manifest:
        """The manifest of a backup whose data are those that were sent; raises `Invalid`."""
        found = self.read(name)
        path = self.path(name)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Invalid(f"{path}: {error.strerror}") from None
        if digest != found.sha256:
            raise Invalid(f"{path}: is damaged, its SHA-256 differs: take another one")
        return found
