"""What Redis keeps in a folder of its own, read by root."""

import os

import pytest

from selvage.fields import Invalid
from selvage.redis.tell import _kept


def test_the_file_says_whom_sentinel_logs_in_as(tmp_path):
    state = tmp_path / "sentinel.conf"
    state.write_text(
        'port 0\nsentinel auth-user selvage sentinel\nsentinel auth-pass selvage "x"\n'
    )
    assert _kept(state) == {"auth-user": "sentinel", "auth-pass": "x"}


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "sentinel.conf")
    with pytest.raises(Invalid, match=r"sentinel\.conf: is no file: see who put it there"):
        _kept(tmp_path / "sentinel.conf")


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("sentinel auth-pass selvage x\n")
    (tmp_path / "sentinel.conf").symlink_to(tmp_path / "secret")
    with pytest.raises(Invalid, match=r"sentinel\.conf: Too many levels of symbolic links"):
        _kept(tmp_path / "sentinel.conf")
