"""What every part of the lab uses: errors for people, commands, files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class LabError(Exception):
    """One line for the person at the terminal."""


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command to its end; raises LabError with its first line of complaint."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{' '.join(command)}: {complaint[0] if complaint else done.returncode}")
    return done.stdout


def succeeds(*command: str) -> bool:
    """Whether a command exits 0; its output does not matter."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def write(path: Path, content: str, mode: int = 0o644) -> bool:
    """Make the file what it shall be; returns whether it had to change."""
    if path.is_file() and path.read_text() == content and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(content)
    path.chmod(mode)
    return True
