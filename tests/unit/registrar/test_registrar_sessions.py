"""The sessions that are this host's own: over processes, and not over hosts or starts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from selvage.registrar.sessions import Sessions, this_host

HOST = "machine boot 198.18.0.21"
ONE, TWO = 0x1000_0000_0000_0001, -0x7000_0000_0000_0001


def test_the_next_process_knows_them(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    first = Sessions(path, HOST)
    assert ONE not in first
    first.note(ONE)
    second = Sessions(path, HOST)
    second.note(TWO)
    third = Sessions(path, HOST)
    assert ONE in third
    assert TWO in third
    assert 0 not in third


@pytest.mark.parametrize(
    "other", ["machine another 198.18.0.21", "machine boot 198.18.0.22", "other boot 198.18.0.21"]
)
def test_another_host_has_none(tmp_path: Path, other: str) -> None:
    path = tmp_path / "sessions.json"
    Sessions(path, HOST).note(ONE)
    clone = Sessions(path, other)
    assert ONE not in clone
    clone.note(TWO)
    assert ONE not in Sessions(path, HOST)


def test_only_the_last_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    sessions = Sessions(path, HOST)
    for session in range(1, 1_001):
        sessions.note(session)
    assert [session in Sessions(path, HOST) for session in (1, 900, 901, 1_000)] == [
        False, False, True, True
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"host": 1}', f'{{"host": "{HOST}", "sessions": ["x"]}}', "[" * 9_999],
)
def test_a_damaged_file_proves_nothing_and_is_told(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "sessions.json"
    path.write_text(text)
    sessions = Sessions(path, HOST)
    assert "the sessions of before are not known" in caplog.text
    sessions.note(ONE)
    assert ONE in Sessions(path, HOST)


def test_what_cannot_be_noted_is_told_once_and_hinders_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = Sessions(tmp_path / "nowhere" / "sessions.json", HOST)
    with caplog.at_level(logging.ERROR):
        sessions.note(ONE)
        sessions.note(ONE)
    assert len(caplog.records) == 1
    assert "No such file or directory" in caplog.text
    assert ONE in sessions


def test_a_host_is_itself_until_its_next_start(tmp_path: Path) -> None:
    assert this_host("198.18.0.21") == this_host("198.18.0.21")
    assert this_host("198.18.0.21") != this_host("198.18.0.22")
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    assert this_host("198.18.0.21", boot=boot) != this_host("198.18.0.21")
    assert this_host("198.18.0.21", machine=tmp_path / "none").startswith(" ")
