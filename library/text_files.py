#!/usr/bin/python
"""The Ansible module: one folder whose text files are exactly the given ones."""

from __future__ import annotations

import difflib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: text_files
short_description: Keep a folder's text files equal to a mapping
description:
  - Writes those files that differ, each at once and with its final mode, and removes the others.
  - Owner and mode count as well; what belongs to somebody else, or is a link, is made anew.
  - One call for a whole tree, where C(copy) needs several for each file.
version_added: "1.0.0"
author:
  - Selvage
attributes:
  check_mode:
    support: full
    description: Nothing is written or removed.
  diff_mode:
    support: full
    description:
      - A line for each file that is written or removed, or one for a new folder. The text is the
        project's own, and long; a version control system shows it better.
options:
  path:
    description:
      - The folder, which belongs to this module as a whole. It and its folders get mode 0755, and
        all belongs to the user that the module runs as.
      - What Python keeps in C(__pycache__) is left alone, unless somebody else may write there.
    type: path
    required: true
  files:
    description: Names within O(path), with slashes for folders, and their text. They get mode 0644.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Install a package
  text_files:
    path: /usr/local/lib/example/example
    files:
      __init__.py: ""
      sub/part.py: "{{ lookup('ansible.builtin.file', 'part.py', rstrip=false) }}"
"""

RETURN = r"""
written:
  description: Names of the files that were written.
  type: list
  elements: str
  returned: always
removed:
  description: Names of the files and links that were removed.
  type: list
  elements: str
  returned: always
restored:
  description: Names of the folders that got their owner and mode back; O(path) itself is V(.).
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.system import files

FILE, FOLDER = 0o644, 0o755
CACHE = "__pycache__"


@dataclass
class Plan:
    """What is to do: each line is for a person, by the name that it is about."""

    written: dict[str, str]
    removed: dict[str, str]
    restored: dict[str, str]


def plan(root: Path, wanted: Mapping[str, str]) -> Plan:
    """Compare the folder with what it is to hold; no link within it is followed."""
    found = {str(path.relative_to(root)): status for path, status in entries(root)}
    if root.exists():
        found = {".": root.stat(), **found}
    written = {name: differs(root / name, wanted[name], found.get(name)) for name in sorted(wanted)}
    removed, restored = {}, {}
    for name, status in found.items():
        path = Path(name)
        if path.name == CACHE:
            # Who may write there, or could put it there, says what Python runs.
            if not (is_safe(status) and is_ours(found[str(path.parent)], FOLDER)):
                removed[name] = "removed"
        elif not stat.S_ISDIR(status.st_mode):
            if name not in wanted:
                removed[name] = "removed"
        elif not is_ours(status, FOLDER):
            restored[name] = "owner or mode"
    return Plan({name: what for name, what in written.items() if what}, removed, restored)


def entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All that is in the folder and in its folders, these before what they hold."""
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        status = path.lstat()
        yield path, status
        if stat.S_ISDIR(status.st_mode) and path.name != CACHE:
            yield from entries(path)


def is_safe(cache: os.stat_result) -> bool:
    """Whether it is a folder that nobody else writes to."""
    writable = stat.S_IMODE(cache.st_mode) & 0o022
    return stat.S_ISDIR(cache.st_mode) and cache.st_uid == os.geteuid() and not writable


def is_ours(status: os.stat_result, mode: int) -> bool:
    """Whether owner, group and mode are what this module gives."""
    owner = (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    return owner and stat.S_IMODE(status.st_mode) == mode


def differs(path: Path, text: str, found: os.stat_result | None) -> str:
    """How the file differs from a regular one of ours with this text; empty if it does not."""
    if found is None or not stat.S_ISREG(found.st_mode):
        return "new"
    former = path.read_bytes()
    if former == text.encode():
        return "" if is_ours(found, FILE) else "owner or mode"
    lines = former.decode(errors="replace").splitlines(), text.splitlines()
    changes = [line[0] for line in difflib.unified_diff(*lines, n=0, lineterm="")][2:]
    return f"-{changes.count('-')} +{changes.count('+')} lines"


def carry_out(root: Path, wanted: Mapping[str, str]) -> None:
    """Do it, from a look that is taken once nobody else can change anything."""
    if root.exists():
        claim(root.resolve())
    todo = plan(root, wanted)
    for name in todo.removed:
        remove(root / name, root)
    for name in todo.written:
        write(root / name, wanted[name])


def claim(folder: Path) -> None:
    """Make a folder and all that are below it ours, from above: nobody swaps them any more then."""
    was_ours = take(folder)
    for path in folder.iterdir():
        status = path.lstat()
        if path.name == CACHE:
            if not (was_ours and is_safe(status)):
                remove(path, folder)
        elif stat.S_ISDIR(status.st_mode):
            claim(path)


def take(folder: Path) -> bool:
    """Make the folder ours; whether it was. A new one may have the group of a setgid parent."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        was_ours = is_ours(os.fstat(descriptor), FOLDER)
        if not was_ours:
            os.fchown(descriptor, os.geteuid(), os.getegid())
            os.fchmod(descriptor, FOLDER)
    finally:
        os.close(descriptor)
    return was_ours


def write(path: Path, text: str) -> None:
    """Write the file so that a reader finds the former text or the whole new one."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir()
            take(folder)
    files.write(path, text, mode=FILE)


def remove(path: Path, root: Path) -> None:
    """Remove a file or Python's cache, and the folders within `root` that this leaves empty."""
    if path.name == CACHE and not path.is_symlink() and path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    for folder in path.parents:
        if folder == root or any(folder.iterdir()):
            return
        folder.rmdir()


def run_module(module: AnsibleModule) -> dict[str, Any]:
    """Do it; the result for Ansible."""
    root = Path(module.params["path"])
    wanted: dict[str, str] = module.params["files"]
    for name, text in wanted.items():
        if name.startswith("/") or ".." in Path(name).parts or not isinstance(text, str):
            module.fail_json(msg=f"files: {name!r}: expected a name within {root}, and its text")
    new = not root.exists()
    todo = plan(root, wanted)
    if not module.check_mode:
        carry_out(root, wanted)
    lines = [
        f"{root / name}: {what}"
        for part in (todo.restored, todo.written, todo.removed)
        for name, what in part.items()
    ]
    if new:
        lines = [f"{root}: new, with {len(wanted)} files"]
    return {
        "changed": bool(todo.written or todo.removed or todo.restored),
        "written": list(todo.written),
        "removed": list(todo.removed),
        "restored": list(todo.restored),
        "diff": {"prepared": "".join(f"{line}\n" for line in lines)},
    }


def main() -> None:
    """Run as Ansible runs modules."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        result = run_module(module)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
