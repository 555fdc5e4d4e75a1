"""The module `text_files`: a folder becomes equal to a mapping, and nothing else changes."""

import json
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
    assert result["diff"][0]["before"] == FILES["part.py"]
    assert result["diff"][1]["after"] == ""


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
