"""Several backups that came as one stream."""

import io
from types import SimpleNamespace

import pytest

from selvage.backup import parts

# As age is called: it gives what it got, for that key alone.
AGE = """#!/bin/sh
[ "$*" = "--decrypt --identity - --output $5 $6" ] && [ "$(cat)" = key ] ||
  { echo no key >&2; exit 1; }
tr a-z A-Z < "$6" > "$5"
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The program, with what came and a key."""
    program = tmp_path / "bin" / "age"
    program.parent.mkdir()
    program.write_text(AGE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    folder = tmp_path / "incoming"
    folder.mkdir()
    (folder / "data").write_bytes(b"firstsecond")

    def main(*words, key=b"key"):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(key)))
        return parts.main([str(folder), *words])

    main.folder = folder
    return main


def test_each_is_a_file_of_its_own_and_open(run):
    assert run("one:5:plain", "two:6:sealed") == 0
    names = {path.name: path.read_text() for path in run.folder.iterdir()}
    assert names == {"data": "firstsecond", "one": "first", "two": "SECOND"}


def test_without_the_right_key_there_is_a_line(run, capsys):
    assert run("one:5:sealed", key=b"other") == 1
    assert "no key" in capsys.readouterr().err


def test_what_did_not_come_whole_is_told(run, capsys):
    assert run("one:5:plain", "two:7:plain") == 1
    assert "two did not come whole" in capsys.readouterr().err
