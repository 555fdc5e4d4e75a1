"""`selvage drain` and `undrain`: the files, and the command with its messages."""

import json
from pathlib import Path

import pytest

from selvage.__main__ import main
from selvage.fields import Invalid
from selvage.registrar import drain


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "drain").mkdir()
    path = tmp_path / "registrar.json"
    path.write_text(
        json.dumps(
            {
                "registry": {"hosts": ["127.0.0.1:2181"]},
                "node": "app1",
                "address": "127.0.0.1",
                "state_directory": str(tmp_path),
                "instances": [
                    {"service": "inventory", "port": 8080},
                    {"service": "billing", "port": 8081},
                ],
            }
        )
    )
    return path


def test_drain_and_undrain(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", str(config)]
    assert main(["drain", "inventory", "--reason", "new disk, é", *arguments]) == 0
    assert "inventory is drained" in capsys.readouterr().out
    assert drain.drained(config.parent / "drain") == {"inventory": "new disk, é"}
    assert (config.parent / "drain/inventory").stat().st_mode & 0o777 == 0o644

    assert main(["undrain", "inventory", *arguments]) == 0
    assert "let back in" in capsys.readouterr().out
    assert drain.drained(config.parent / "drain") == {}

    assert main(["undrain", "inventory", *arguments]) == 0
    assert "was not drained" in capsys.readouterr().out


@pytest.mark.parametrize("service", ["invent", "../registrar.json", ""])
def test_an_unknown_service_is_refused_with_those_that_exist(
    config: Path, capsys: pytest.CaptureFixture[str], service: str
) -> None:
    assert main(["drain", service, "--reason", "x", "--config", str(config)]) == 2
    assert capsys.readouterr().err == (
        f"selvage: {service!r} is not announced by this node, which announces: billing, inventory\n"
    )


@pytest.mark.parametrize("service", ["../registrar.json", "..", ".", ""])
def test_undrain_removes_nothing_else(config: Path, service: str) -> None:
    assert main(["undrain", service, "--config", str(config)]) == 0
    assert config.exists()


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 201, "\x1b[31m"])
def test_a_reason_is_one_line(config: Path, reason: str) -> None:
    with pytest.raises(Invalid, match="one line of 1 to 200 printable characters"):
        drain.drain(config.parent / "drain", "inventory", reason)
    assert list((config.parent / "drain").iterdir()) == []


def test_a_failure_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "drain").rmdir()
    assert main(["drain", "inventory", "--reason", "x", "--config", str(config)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"selvage: {config.parent}/drain/")
    assert error.endswith(": No such file or directory\n")


def test_the_longest_reason_is_read_whole(tmp_path: Path) -> None:
    drain.drain(tmp_path, "inventory", "ä" * 200)
    assert drain.drained(tmp_path) == {"inventory": "ä" * 200}


def test_a_reason_that_cannot_be_read_drains_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "billing").write_bytes(b"\xff\n")
    assert drain.drained(tmp_path) == {
        "billing": "\ufffd",
        "inventory": "unknown: Is a directory",
    }


def test_unfinished_files_and_a_missing_folder_drain_nothing(tmp_path: Path) -> None:
    (tmp_path / ".inventory").touch()
    assert drain.drained(tmp_path) == {}
    assert drain.drained(tmp_path / "missing") == {}


def test_an_unreadable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        drain.drained(tmp_path / "file")
