#!/usr/bin/python
"""The Ansible module: one folder whose text files are exactly the given ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: text_files
short_description: Keep a folder's text files equal to a mapping
description:
  - Writes those files that differ, each at once and with its final mode, and removes the others.
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
    description: Each file that is written or removed.
options:
  path:
    description:
      - The folder, which belongs to this module as a whole. It and its folders get mode 0755.
      - What Python keeps in C(__pycache__) is left alone.
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
  description: Names of the files that were removed.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.system import files


def present(folder: Path) -> dict[str, str]:
    """The text of every file in the folder by its name; undecodable bytes are replaced."""
    return {
        str(path.relative_to(folder)): path.read_bytes().decode(errors="replace")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def write(path: Path, text: str) -> None:
    """Write the file so that a reader finds the former text or the whole new one."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
    files.write(path, text)


def remove(path: Path, root: Path) -> None:
    """Remove the file, and the folders within `root` that it leaves empty."""
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
    found = present(root)
    written = sorted(name for name in wanted if found.get(name) != wanted[name])
    removed = sorted(found.keys() - wanted.keys())
    if not module.check_mode:
        for name in removed:
            remove(root / name, root)
        for name in written:
            write(root / name, wanted[name])
    return {
        "changed": bool(written or removed),
        "written": written,
        "removed": removed,
        "diff": [
            {
                "before_header": str(root / name),
                "after_header": str(root / name),
                "before": found.get(name, ""),
                "after": wanted.get(name, ""),
            }
            for name in [*written, *removed]
        ],
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
