"""The node's lock, tried by users who are not its owner."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from selvage.system import lock

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")

OWNER, STRANGER = 64_001, 64_002


@pytest.fixture
def path():
    """Where the lock of `OWNER` is: in a folder that others may pass."""
    folder = Path(tempfile.mkdtemp(prefix="selvage-lock-"))
    os.chown(folder, OWNER, OWNER)
    folder.chmod(0o751)
    yield folder / "lock"
    shutil.rmtree(folder)


def by(user, act, path):
    """Do something as another user; returns what came of it: nothing, or the problem."""
    end, other_end = os.pipe()
    child = os.fork()
    if child == 0:
        problem = ""
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            act(path)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        finally:
            os.write(other_end, problem.encode())
            os._exit(0)
    os.close(other_end)
    with os.fdopen(end) as answer:
        problem = answer.read()
    os.waitpid(child, 0)
    return problem


def take(path):
    """What anybody may try: lock the file, which needs no more than to open it."""
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def hold(path):
    """What the reconciler does."""
    with lock.held(path, 0, create=True):
        pass


def described(path):
    """A file's owner and mode."""
    status = path.stat()
    return status.st_uid, stat.S_IMODE(status.st_mode)


def test_others_cannot_take_it(path):
    assert by(OWNER, hold, path) == ""
    assert "PermissionError" in by(STRANGER, take, path)
    assert described(path) == (OWNER, 0o600)


def test_one_of_an_older_version_is_closed_to_others(path):
    path.touch()
    os.chown(path, OWNER, OWNER)
    path.chmod(0o644)
    assert by(STRANGER, take, path) == ""
    assert by(OWNER, hold, path) == ""
    assert "PermissionError" in by(STRANGER, take, path)


@pytest.mark.parametrize("older", [False, True], ids=["new", "of an older version"])
def test_one_that_root_makes_is_the_owners(path, older):
    if older:
        path.touch(0o644)
    with lock.held(path, 0, create=True):
        # The problem of the taken lock, not of a file that cannot be opened.
        assert "another reconciler is still at work" in by(OWNER, hold, path)
        assert "PermissionError" in by(STRANGER, take, path)
    assert described(path) == (OWNER, 0o600)
    assert by(OWNER, hold, path) == ""


def test_a_dry_run_leaves_it_alone(path):
    with lock.held(path, 0, create=False):
        assert not path.exists()
    path.touch(0o644)
    before = path.stat()
    with lock.held(path, 0, create=False):
        pass
    assert path.stat().st_ctime_ns == before.st_ctime_ns


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_root_gives_no_other_file_away(path, link):
    target = path.with_name("target")
    target.touch(0o644)
    getattr(path, link)(target)
    with suppress(lock.Locked):
        hold(path)
    assert described(target) == (0, 0o644)
