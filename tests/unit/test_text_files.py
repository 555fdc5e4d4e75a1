"""The module `text_files`: a folder becomes equal to a mapping, and nothing else changes."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_modules import load

FILES = {"__init__.py": "", "part.py": "x = 'ä'\r\n", "sub/deep.py": "y\n"}


def run(capsys: pytest.CaptureFixture[str], path: Path, files: object, **more: Any) -> Any:
    module = load("text_files")
    with (
        patch_module_args({"path": str(path), "files": files, **more}),
        pytest.raises(SystemExit),
    ):
        module.main()
    return json.loads(capsys.readouterr().out)


def tree(path: Path) -> dict[str, str]:
    return {
        str(p.relative_to(path)): p.read_bytes().decode() for p in path.rglob("*") if p.is_file()
    }


def test_the_folder_becomes_equal_and_then_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "lib/package"
    result = run(capsys, package, FILES)
    assert result["changed"]
    assert result["written"] == sorted(FILES)
    assert tree(package) == FILES
    assert (package / "part.py").stat().st_mode & 0o777 == 0o644
    assert (package / "sub").stat().st_mode & 0o777 == 0o755

    before = (package / "part.py").stat().st_mtime_ns
    assert run(capsys, package, FILES)["changed"] is False
    assert (package / "part.py").stat().st_mtime_ns == before


def test_only_what_differs_is_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, tmp_path, FILES)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/part.pyc").touch()
    before = (tmp_path / "__init__.py").stat().st_mtime_ns
    result = run(capsys, tmp_path, {"__init__.py": "", "part.py": "new"})
    assert (result["written"], result["removed"]) == (["part.py"], ["sub/deep.py"])
    assert tree(tmp_path) == {"__init__.py": "", "part.py": "new", "__pycache__/part.pyc": ""}
    assert not (tmp_path / "sub").exists()
    assert (tmp_path / "__init__.py").stat().st_mtime_ns == before
    assert result["diff"]["prepared"].splitlines() == [
        f"{tmp_path}/part.py: -1 +1 lines",
        f"{tmp_path}/sub/deep.py: removed",
    ]


def test_a_new_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The code of a checkout is no news for whoever looks at a diff, that it comes is."""
    package = tmp_path / "lib"
    for check in (True, False):
        result = run(capsys, package, FILES, _ansible_check_mode=check)
        assert result["diff"]["prepared"] == f"{package}: new, with 3 files\n"


def test_modes_are_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, tmp_path, FILES)
    for name, mode in {".": 0o777, "sub": 0o700, "part.py": 0o666}.items():
        (tmp_path / name).chmod(mode)
    checked = run(capsys, tmp_path, FILES, _ansible_check_mode=True)
    assert (tmp_path / "sub").stat().st_mode & 0o777 == 0o700

    result = run(capsys, tmp_path, FILES)
    assert result == checked
    assert result["written"] == ["part.py"]
    assert result["diff"]["prepared"].splitlines() == [
        f"{tmp_path}: owner or mode",
        f"{tmp_path}/sub: owner or mode",
        f"{tmp_path}/part.py: owner or mode",
    ]
    assert (tmp_path / "part.py").stat().st_mode & 0o777 == 0o644
    assert {path.stat().st_mode & 0o777 for path in (tmp_path, tmp_path / "sub")} == {0o755}
    assert run(capsys, tmp_path, FILES)["changed"] is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_are_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, tmp_path, FILES)
    for name, ids in {".": (65534, 0), "sub": (0, 65534), "part.py": (65534, 65534)}.items():
        os.chown(tmp_path / name, *ids)
    assert run(capsys, tmp_path, FILES)["changed"]
    for name in (".", "sub", "part.py"):
        status = (tmp_path / name).stat()
        assert (status.st_uid, status.st_gid) == (0, 0)
    assert run(capsys, tmp_path, FILES)["changed"] is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_group_of_the_folder_above_is_not_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Debian's /usr/local may have it, for the group staff."""
    os.chown(tmp_path, 0, 65534)
    tmp_path.chmod(0o2775)
    run(capsys, tmp_path / "lib", FILES)
    assert run(capsys, tmp_path / "lib", FILES)["changed"] is False


def test_links_are_replaced_and_not_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    run(capsys, elsewhere, {"deep.py": "y\n", "part.py": FILES["part.py"]})
    package = tmp_path / "lib"
    run(capsys, package, {"__init__.py": ""})
    (package / "sub").symlink_to(elsewhere)
    (package / "part.py").symlink_to(elsewhere / "part.py")
    (package / "gone").symlink_to(tmp_path / "nowhere")
    before = tree(elsewhere)
    assert run(capsys, package, FILES)["changed"]
    assert tree(package) == FILES
    assert not [path for path in package.rglob("*") if path.is_symlink()]
    assert tree(elsewhere) == before
    assert run(capsys, package, FILES)["changed"] is False


def test_a_folder_that_was_swapped_for_a_link_is_not_taken(tmp_path: Path) -> None:
    """Who owned it may do so between the look and the change."""
    module = load("text_files")
    secret, package = tmp_path / "secret", tmp_path / "lib"
    secret.mkdir(mode=0o700)
    package.mkdir()
    (package / "sub").symlink_to(secret)
    with pytest.raises(OSError):
        module.take(package / "sub")
    assert secret.stat().st_mode & 0o777 == 0o700


def test_nothing_beyond_a_swapped_folder_is_removed(tmp_path: Path) -> None:
    module = load("text_files")
    elsewhere, package = tmp_path / "elsewhere", tmp_path / "lib"
    for folder in (elsewhere, package / "evil"):
        folder.mkdir(parents=True)
        (folder / "passwd").touch()
    assert module.plan(package, FILES).removed
    (package / "evil").rename(tmp_path / "aside")
    (package / "evil").symlink_to(elsewhere)
    module.carry_out(package, FILES)
    assert (elsewhere / "passwd").exists()
    assert tree(package) == FILES


def test_a_cache_that_others_may_write_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, tmp_path, FILES)
    cache, planted = tmp_path / "__pycache__", tmp_path / "sub/__pycache__"
    cache.mkdir(mode=0o755)
    planted.mkdir()
    planted.chmod(0o777)
    (planted / "deep.pyc").touch()
    assert run(capsys, tmp_path, FILES)["removed"] == ["sub/__pycache__"]
    assert cache.exists() and not planted.exists()
    planted.symlink_to(cache)
    assert run(capsys, tmp_path, FILES)["removed"] == ["sub/__pycache__"]
    assert cache.exists() and not planted.is_symlink()
    assert run(capsys, tmp_path, FILES)["changed"] is False


def test_check_mode_says_it_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, tmp_path / "lib", FILES, _ansible_check_mode=True)
    assert result["changed"]
    assert result["written"] == sorted(FILES)
    assert not (tmp_path / "lib").exists()


@pytest.mark.parametrize("name", ["/etc/passwd", "../part.py", "sub/../../part.py"])
def test_nothing_is_written_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    result = run(capsys, tmp_path / "lib", {name: "x"})
    assert result["failed"]
    assert result["msg"].startswith(f"files: {name!r}: expected a name within")
    assert tree(tmp_path) == {}


def test_a_failure_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lib").touch()
    result = run(capsys, tmp_path / "lib", FILES)
    assert result["failed"]
    assert str(tmp_path / "lib") in result["msg"]
