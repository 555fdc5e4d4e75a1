"""A restore's work in a MySQL member's folder, as user mysql; Ansible stops and starts its server.

    python3 -m selvage.backup.place_mysql prepare --data FOLDER --archive FILE --programs FOLDER
        --version 11.8 [--log FILE=POSITION … --until TIME | --until-gtid GTID]
    python3 -m selvage.backup.place_mysql swap --data FOLDER [--fill]
    python3 -m selvage.backup.place_mysql finish --data FOLDER

All of it lies in the server's folder, which may be a disk of its own: `#restore` is what is being
prepared, `#before-restore/data` what was there before, and stays until the next restore.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ..formats.grammar import shown
from . import replay, statements
from .place import RefusedError, serve

_WORK: Final = "#restore"
_ASIDE: Final = "#before-restore"
_OLD: Final = "#former-restore"
# Role mysql's: with it no server starts, and whoever has nothing else is seeded.
_MARK: Final = "selvage-seeding"
# In what was put aside: all is in it; the restore came to its end.
_MOVED: Final = "moved"
_FINISHED: Final = "restored"
# What is kept free beside a copy of the data, of their size.
_SPARE: Final = 1.2


def prepare(archive: Path, data: Path, programs: Path, version: str, goal: replay.Goal) -> str:
    """Make the backup a server's data, beside the data, and bring them up to the goal.

    The caller has given it a network of its own. Returns the position; raises `RefusedError`.
    """
    work = data / _WORK
    shutil.rmtree(work, ignore_errors=True)
    _same_version(version)
    # The logs are there twice: as they came, and as the server writes them.
    size = archive.stat().st_size + sum(2 * one.archive.stat().st_size for one in goal.logs)
    free = shutil.disk_usage(data).free
    if free < size * _SPARE:
        raise RefusedError(
            f"{data} has {free} bytes free, and the backup needs {size * _SPARE:.0f}"
        )
    made = work / "data"
    made.mkdir(parents=True, mode=0o700)
    position = statements.position_of(archive)
    if position is not None:
        _run([programs / "prepare-empty", made], archive)
        return replay.bring(made, position, goal, archive)
    position = _run([programs / "prepare-data", made], archive)
    # Of a source that was restored once.
    shutil.rmtree(made / _ASIDE, ignore_errors=True)
    return replay.bring(made, position, goal)


def _run(words: Sequence[str | Path], archive: Path) -> str:
    """What the program says that gets the backup on its standard input."""
    with archive.open("rb") as file:
        done = subprocess.run(words, stdin=file, capture_output=True, check=False)
    if done.returncode:
        said = shown(done.stderr[-600:].decode(errors="replace"))
        raise RefusedError(f"the backup is no copy of a server's data: {said}")
    return done.stdout.decode().strip()


def _same_version(version: str) -> None:
    said = subprocess.run(["mariadbd", "--version"], capture_output=True, check=True, text=True)
    if f" {version}." not in said.stdout:
        raise RefusedError(f"the backup is of MariaDB {version}, and here is {said.stdout.strip()}")


def swap(data: Path, *, fill: bool) -> None:
    """Put what is there aside, and what was prepared in its place, or nothing.

    The server is stopped, and the mark of a seeding is there; it stays where nothing is filled in.
    """
    if not (data / _MARK).exists():
        raise RefusedError(f"{data / _MARK} is missing: a server may run with these data")
    _put_aside(data)
    if fill:
        for path in sorted((data / _WORK / "data").iterdir()):
            path.rename(data / path.name)
    shutil.rmtree(data / _WORK, ignore_errors=True)
    if fill:
        (data / _MARK).unlink()


def _put_aside(data: Path) -> None:
    """Keep what is there, once: of an interrupted restore it is the first one's that counts."""
    aside, old = data / _ASIDE, data / _OLD
    if (aside / _FINISHED).exists():
        shutil.rmtree(old, ignore_errors=True)
        aside.rename(old)
    shutil.rmtree(old, ignore_errors=True)
    if (aside / _MOVED).exists():
        for path in _own(data):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return
    (aside / "data").mkdir(parents=True, mode=0o700, exist_ok=True)
    for path in _own(data):
        path.rename(aside / "data" / path.name)
    (aside / _MOVED).touch()


def _own(data: Path) -> Iterator[Path]:
    """What is the server's in its folder."""
    kept = {_WORK, _ASIDE, _OLD, _MARK, "lost+found"}
    yield from [path for path in data.iterdir() if path.name not in kept]


def finish(data: Path) -> None:
    """The restore is over: the next one may throw away what this one put aside."""
    if (data / _ASIDE).exists():
        (data / _ASIDE / _FINISHED).touch()


def _log(text: str) -> replay.Log:
    path, _, position = text.rpartition("=")
    return replay.Log(Path(path), position)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one step; 1 with a line on stderr when that cannot be."""
    parser = argparse.ArgumentParser(prog="place_mysql")
    steps = parser.add_subparsers(required=True)
    one = steps.add_parser("prepare")
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--archive", type=Path, required=True)
    one.add_argument("--programs", type=Path, required=True)
    one.add_argument("--version", required=True)
    one.add_argument("--log", type=_log, action="append", default=[], metavar="FILE=POSITION")
    one.add_argument("--until", default="")
    one.add_argument("--until-gtid", default="")
    one.set_defaults(
        do=lambda o: prepare(
            *(o.archive, o.data, o.programs, o.version),
            replay.Goal(tuple(o.log), o.until, o.until_gtid),
        )
    )
    one = steps.add_parser("swap")
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--fill", action="store_true")
    one.set_defaults(do=lambda o: swap(o.data, fill=o.fill))
    one = steps.add_parser("finish")
    one.add_argument("--data", type=Path, required=True)
    one.set_defaults(do=lambda o: finish(o.data))
    return serve(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
