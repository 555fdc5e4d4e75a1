"""The services file on disk: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..system import files
from .places import HAProxySettings
from .sections import Section, assemble, split


class FileFailed(Exception):
    """The services file cannot be read, checked or written, and is what it was."""


@dataclass(frozen=True)
class Filed:
    """The file's text, its sections, and how to see that it is another file by now."""

    text: str
    sections: Mapping[str, Section]
    signature: tuple[int, ...] | None


EMPTY: Final = Filed("", {}, None)


def read(settings: HAProxySettings, known: Filed = EMPTY) -> Filed:
    """The file, empty when there is none; `known` itself while it is the same file.

    Raises `FileFailed`.
    """
    path = Path(settings.services_config)
    try:
        with path.open("rb") as file:
            signature = _signature(os.fstat(file.fileno()))
            if known.signature == signature:
                return known
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return EMPTY
    except OSError as error:
        raise FileFailed(f"{path}: {error.strerror}") from error
    return Filed(text, split(text), signature)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def write(settings: HAProxySettings, sections: Mapping[str, Section]) -> Filed:
    """Put these sections in the file's place; they are on disk when this returns.

    Raises `FileFailed`.
    """
    target = Path(settings.services_config)
    text = assemble(sections)
    try:
        # HAProxy may read it as another user, whatever our umask.
        status = files.write(target, text, durable=True)
    except OSError as error:
        raise FileFailed(f"{target}: cannot be written: {error.strerror}") from error
    return Filed(text, sections, _signature(status))
