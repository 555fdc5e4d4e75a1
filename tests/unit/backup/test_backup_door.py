"""What the backup host's key opens on a member, and what it does not."""

import hashlib
import io
import os
import socket
import threading
from types import SimpleNamespace

import pytest

from selvage.backup import door


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The program with folders of its own; returns its exit code."""
    (tmp_path / "incoming").mkdir()

    def main(request, data=b""):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        return door.main(request, tmp_path, tmp_path / "incoming")

    return main


@pytest.mark.parametrize(
    "request_", ["", "id", "send", "send redis; id", "send redis\n", "send ../redis", "receive etc"]
)
def test_three_words_and_nothing_else(own, request_, capsys):
    assert own(request_) == 1
    assert "expected look, send or receive" in capsys.readouterr().err


def test_nothing_comes_in_unless_a_restore_has_opened_the_folder(own, tmp_path, capsys):
    assert own("receive redis", b"data") == 1
    assert "receive redis: No such file or directory" in capsys.readouterr().err
    (tmp_path / "incoming" / "redis").mkdir()
    assert own("receive redis", b"data") == 0
    assert capsys.readouterr().out.strip() == hashlib.sha256(b"data").hexdigest()
    assert (tmp_path / "incoming" / "redis" / "data").read_bytes() == b"data"


def test_what_is_brought_follows_no_link(own, tmp_path):
    folder = tmp_path / "incoming" / "redis"
    folder.mkdir()
    (tmp_path / "victim").write_text("as it was")
    (folder / "data").symlink_to(tmp_path / "victim")
    assert own("receive redis", b"data") == 0
    assert (tmp_path / "victim").read_text() == "as it was"
    assert (folder / "data").read_bytes() == b"data"


def test_what_the_service_sends_is_passed_on(own, tmp_path, monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
    asked = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "redis.sock"))
        listening.listen()

        def serve():
            link, _ = listening.accept()
            with link:
                asked.append(link.makefile("rb").readline())
                link.sendall(b"frames")

        service = threading.Thread(target=serve)
        service.start()
        assert own("send redis") == 0
        service.join()
    assert (asked, out.getvalue()) == ([b"send\n"], b"frames")
