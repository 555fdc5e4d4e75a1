"""Files are replaced whole, with their mode, and whatever goes wrong leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from selvage.system import files

MODULES = Path(__file__).parents[3] / "module_utils"
BEGINS = """
import os, sys
from pathlib import Path
from selvage.system import files
os.fchmod = lambda *_: os.kill(os.getpid(), 9)
files.write(Path(sys.argv[1]), "unfinished")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_with_its_mode_whatever_the_umask(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    former = os.umask(0o077)
    try:
        files.write(path, "one\r\n", durable=durable)
        status = files.write(path, "zwölf\r\n", mode=0o640, durable=durable)
    finally:
        os.umask(former)
    assert path.read_bytes() == "zwölf\r\n".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    found = path.stat()
    same = (found.st_ino, found.st_size, found.st_mtime_ns)
    assert (status.st_ino, status.st_size, status.st_mtime_ns) == same
    assert names(tmp_path) == ["file"]


def test_no_planted_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("file", "file.new", f".file.{os.getpid()}.new"):
        (folder / name).symlink_to(victim)
    files.write(folder / "file", "mine")
    assert victim.read_text() == "precious"
    assert not (folder / "file").is_symlink()
    assert (folder / "file").read_text() == "mine"


def test_a_failure_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    files.write(path, "former")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as failure:
        files.write(path, "new", durable=True)
    assert failure.value.filename == str(path)
    assert path.read_text() == "former"
    assert names(tmp_path) == ["file"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path / "folder", "text")
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "nowhere" / "file", "text")
    assert names(tmp_path) == ["file", "folder"]


def test_what_killed_processes_left_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(2):
        killed = subprocess.run(
            [sys.executable, "-c", BEGINS, path], env={**os.environ, "PYTHONPATH": str(MODULES)}
        )
        assert killed.returncode == -9
    assert len(names(tmp_path)) == 1, "the second removed what the first one left"
    others = [f".file.{os.getppid()}.new", ".file.1.new", ".file.new", ".file2.0.new"]
    for name in others:
        (tmp_path / name).touch()
    files.write(path, "text")
    assert names(tmp_path) == sorted([*others, "file"])


def test_removing_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    files.write(tmp_path / "file", "text")
    files.remove(tmp_path / "file", durable=True)
    files.remove(tmp_path / "file", durable=True)
    assert names(tmp_path) == []
