"""What systemd hears: bounded, on one line each, and never the end of a daemon."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from selvage.system import systemd


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that systemd listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


@pytest.mark.parametrize("size", [4_096, 300_000, 10_000_000])
def test_a_status_of_any_size_arrives_bounded(heard: socket.socket, size: int) -> None:
    systemd.status("xä" * size)
    said = heard.recv(65_536)
    # systemd ignores a datagram of more than a page.
    assert len(said) < 4_096
    assert said.decode().startswith("STATUS=xäxä")
    assert said.decode().endswith("…")


def test_a_status_says_nothing_else(heard: socket.socket) -> None:
    systemd.status("one\nMAINPID=1\r\ntwo\x00\x1b[0m\udc80\tthree")
    assert heard.recv(65_536).decode() == "STATUS=one MAINPID=1 two??[0m??three"


def test_what_is_no_status_arrives_as_it_is(heard: socket.socket) -> None:
    systemd.notify("RELOADING=1\nMONOTONIC_USEC=5")
    assert heard.recv(65_536) == b"RELOADING=1\nMONOTONIC_USEC=5"


def test_a_systemd_that_does_not_listen_is_told_once_and_ends_nothing(
    heard: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    heard.close()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            systemd.notify("WATCHDOG=1")
    assert len(caplog.records) == 1
    assert "systemd does not take what is said to it" in caplog.text


def test_a_systemd_that_does_not_read_is_not_waited_for(
    heard: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.ERROR):
        for _ in range(5_000):
            systemd.notify("WATCHDOG=1")
            if caplog.records:
                break
    assert len(caplog.records) == 1, "the kernel's queue is full at some time"


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.status("fine")
