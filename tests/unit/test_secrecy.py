"""The reader that looks for secrets on lab hosts finds them wherever they are planted."""

from __future__ import annotations

import base64
import gzip
import subprocess
import sys

import pytest

import secrecy

SECRET = "q7Rw0ndrously-l0ng-and-random"
HERE = [sys.executable, "-c", secrecy.START]


def found(folder, **kept):
    return secrecy.leaks(HERE, {"fabric_x": SECRET}, kept, root=str(folder), whole=False)


@pytest.mark.parametrize("before", ["", "a", "ab"])
@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("plain", str.encode),
        ("base64", lambda text: base64.b64encode(text.encode())),
        ("log.gz", lambda text: gzip.compress(text.encode())),
    ],
)
def test_what_is_planted_is_found(tmp_path, name, written, before):
    assert found(tmp_path) == []
    (tmp_path / name).write_bytes(written(f"{before}{SECRET} and more"))
    assert found(tmp_path) == [f"fabric_x is in {tmp_path / name}"]


def test_across_the_parts_of_a_large_file(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * ((1 << 20) - 9) + SECRET.encode() + b"x" * 100)
    assert found(tmp_path) == [f"fabric_x is in {tmp_path / 'large'}"]


def test_a_file_that_may_have_it_is_not_for_others(tmp_path):
    place = tmp_path / "managed.conf"
    place.write_text(f"requirepass {SECRET}")
    place.chmod(0o640)
    assert found(tmp_path, fabric_x=[str(place)]) == []
    place.chmod(0o644)
    assert found(tmp_path, fabric_x=[str(place)]) == [
        f"fabric_x is in {place}, which others may use"
    ]


@pytest.mark.parametrize("how", ["cmdline", "environ"])
def test_processes(tmp_path, how):
    sleeping = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    arguments, environment = ([SECRET], {}) if how == "cmdline" else ([], {"PASSWORD": SECRET})
    with (
        subprocess.Popen(
            [*sleeping, *arguments], env=environment, stdin=subprocess.PIPE
        ) as process,
        secrecy.watched(HERE, {"fabric_x": SECRET}) as seen,
    ):
        (line,) = found(tmp_path)
    assert process.returncode == 0
    assert line.startswith(f"fabric_x is in {how} of python")
    assert seen == [line]


def test_a_labs_own(tmp_path):
    folder = tmp_path / "trial/secrets"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "fabric_x").touch(0o600)
    (folder / "fabric_x").write_text(SECRET)
    assert secrecy.of_lab("trial", tmp_path) == {"fabric_x": SECRET}
    (folder / "fabric_x").chmod(0o640)
    with pytest.raises(AssertionError, match="others may use"):
        secrecy.of_lab("trial", tmp_path)
